// The RWKV-7 recurrence and its gradient on a CPU, as a PyTorch operator. wkv_cpu.py loads it.
//
// Step by step, because on a CPU the chunked form only costs: S of a head (16 KB) stays in the
// first cache. Heads of all sequences are independent and are shared out between the threads.
//
// The two directions keep S differently, so that nearly all sums run down the lanes of registers:
// forward, a row belongs to a key, because u and y are vectors of values; backward, a row belongs
// to a value, because five of the seven gradients are vectors of keys.
#include <ATen/Parallel.h>
#include <torch/extension.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace {

constexpr int N = 64;      // channels of a head
constexpr int CHUNK = 16;  // tokens between two saved states
constexpr int LANES = 16;  // floats of a vector; a row is four vectors

typedef float Vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

inline Vec& vec(float* p) {
  return *reinterpret_cast<Vec*>(p);
}
inline Vec vec(const float* p) {
  return *reinterpret_cast<const Vec*>(p);
}

// A row of a state. Four members and no array: an array keeps the compiler from holding the row in
// registers.
struct Row {
  Vec a, b, c, d;
};

inline Row load(const float* p) {
  return {vec(p), vec(p + LANES), vec(p + 2 * LANES), vec(p + 3 * LANES)};
}

inline void store(float* p, const Row& x) {
  vec(p) = x.a, vec(p + LANES) = x.b, vec(p + 2 * LANES) = x.c, vec(p + 3 * LANES) = x.d;
}

inline Row operator*(const Row& x, float y) {
  return {x.a * y, x.b * y, x.c * y, x.d * y};
}
inline Row operator*(const Row& x, const Row& y) {
  return {x.a * y.a, x.b * y.b, x.c * y.c, x.d * y.d};
}
inline Row operator+(const Row& x, const Row& y) {
  return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d};
}

// x . y but for the last step, the sum of 16 lanes.
inline Vec products(const Row& x, const Row& y) {
  const Row p = x * y;
  return (p.a + p.b) + (p.c + p.d);
}

inline float dot(const float* x, const float* y) {
  const Vec p = products(load(x), load(y));
  float sum = 0;
  for (int i = 0; i < LANES; ++i) sum += p[i];
  return sum;
}

// The lanes that hold parts of one sum become half as many, from 2 D to D: blocks of D lanes come
// from x and y in turn.
template <int D, int... Lane>
inline Vec fold(const Vec& x, const Vec& y, std::integer_sequence<int, Lane...>) {
  return __builtin_shufflevector(x, y,
                                 (Lane / D % 2 * LANES + Lane / D / 2 * 2 * D + Lane % D)...) +
         __builtin_shufflevector(x, y,
                                 (Lane / D % 2 * LANES + Lane / D / 2 * 2 * D + Lane % D + D)...);
}

// Lane i becomes the sum of the lanes of v[i]: four folds, of which the first chooses by bit 3 of
// i.
inline Vec sums_of_lanes(Vec* v) {
  constexpr auto lanes = std::make_integer_sequence<int, LANES>{};
  for (int i = 0; i < 8; ++i) v[i] = fold<8>(v[i], v[i + 8], lanes);
  for (int i = 0; i < 4; ++i) v[i] = fold<4>(v[i], v[i + 4], lanes);
  for (int i = 0; i < 2; ++i) v[i] = fold<2>(v[i], v[i + 2], lanes);
  return fold<1>(v[0], v[1], lanes);
}

// to[i][j] = from[j][i], both N x N: blocks of 16 x 16 in four exchanges of off-diagonal quarters.
template <int D, int... Lane>
inline void exchange(Vec* v, std::integer_sequence<int, Lane...>) {
  for (int i = 0; i < LANES; ++i) {
    if (i & D) continue;
    const Vec x = v[i], y = v[i + D];
    v[i] = __builtin_shufflevector(x, y, (Lane & D ? LANES + Lane - D : Lane)...);
    v[i + D] = __builtin_shufflevector(x, y, (Lane & D ? LANES + Lane : Lane + D)...);
  }
}

void transpose(const float* from, float* to) {
  constexpr auto lanes = std::make_integer_sequence<int, LANES>{};
  for (int i = 0; i < N; i += LANES) {
    for (int j = 0; j < N; j += LANES) {
      Vec v[LANES];
      for (int n = 0; n < LANES; ++n) v[n] = vec(from + (j + n) * N + i);
      exchange<8>(v, lanes), exchange<4>(v, lanes), exchange<2>(v, lanes), exchange<1>(v, lanes);
      for (int n = 0; n < LANES; ++n) vec(to + (i + n) * N + j) = v[n];
    }
  }
}

inline void prefetch_row(const float* p) {
  for (int i = 0; i < N; i += LANES) __builtin_prefetch(p + i);
}

// Offset of token t of head h in [B, T, H, N].
struct Shape {
  int64_t B, T, H;
  int64_t at(int64_t head, int64_t t) const { return ((head / H * T + t) * H + head % H) * N; }
  int64_t chunks() const { return T / CHUNK; }
};

Shape shape_of(const at::Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.size(3) == N && x.size(1) % CHUNK == 0,
              "wkv: [B, T, H, 64] with T a multiple of 16");
  return {x.size(0), x.size(1), x.size(2)};
}

const float* data(const at::Tensor& x) {
  TORCH_CHECK(x.is_contiguous() && x.scalar_type() == at::kFloat, "wkv: contiguous float32 wanted");
  return x.const_data_ptr<float>();
}

// u = S a^T; S <- S diag(w) + u b + v k; y = S r^T, with S [key x value].
void step(float* S, const float* r, const float* w, const float* k, const float* v, const float* a,
          const float* b, float* u, float* y) {
  Row even{}, odd{};  // two sums, because an addition has to wait for the one before it
  for (int j = 0; j < N; j += 2) {
    even = even + load(S + j * N) * a[j];
    odd = odd + load(S + (j + 1) * N) * a[j + 1];
  }
  const Row removed = even + odd, value = load(v);
  Row read{};
  for (int j = 0; j < N; ++j) {
    const Row row = load(S + j * N) * w[j] + removed * b[j] + value * k[j];
    store(S + j * N, row);
    read = read + row * r[j];
  }
  store(u, removed);
  store(y, read);
}

// Returns y, u of every token, and the state before every chunk.
std::vector<at::Tensor> forward(at::Tensor r_, at::Tensor w_, at::Tensor k_, at::Tensor v_,
                                at::Tensor a_, at::Tensor b_) {
  const Shape s = shape_of(r_);
  const float *r = data(r_), *w = data(w_), *k = data(k_), *v = data(v_), *a = data(a_),
              *b = data(b_);
  at::Tensor y_ = at::empty_like(r_), u_ = at::empty_like(r_);
  at::Tensor saved_ = at::empty({s.B * s.H, s.chunks(), N, N}, r_.options());
  float *y = y_.data_ptr<float>(), *u = u_.data_ptr<float>(), *saved = saved_.data_ptr<float>();
  at::parallel_for(0, s.B * s.H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      alignas(64) float S[N * N] = {};
      for (int64_t t = 0; t < s.T; ++t) {
        if (t % CHUNK == 0)
          std::memcpy(saved + (head * s.chunks() + t / CHUNK) * N * N, S, sizeof S);
        const int64_t o = s.at(head, t);
        // The tokens of a head lie too far apart for the machine to guess the next ones.
        for (const float* x : {r, w, k, v, a, b})
          prefetch_row(x + s.at(head, std::min(t + 2, s.T - 1)));
        step(S, r + o, w + o, k + o, v + o, a + o, b + o, u + o, y + o);
      }
    }
  });
  return {y_, u_, saved_};
}

// The states of a chunk again, [value x key], before each of its tokens: the saved one is turned
// over, and u is known.
void replay(const float* saved, const Shape& s, int64_t head, int64_t chunk, const float* w,
            const float* k, const float* v, const float* b, const float* u, float* states) {
  transpose(saved, states);
  for (int t = 0; t + 1 < CHUNK; ++t) {
    const int64_t o = s.at(head, chunk * CHUNK + t);
    const float* before = states + t * N * N;
    const Row wt = load(w + o), kt = load(k + o), bt = load(b + o);
    for (int i = 0; i < N; ++i)
      store(states + (t + 1) * N * N + i * N,
            load(before + i * N) * wt + bt * u[o + i] + kt * v[o + i]);
  }
}

// Gradients of r, w, k, v, a, b. With S the state before a token and dS the gradient of the state
// after it:
//   dS += dy r^T;  dv = dS k;  du = dS b;  dk = dS^T v;  db = dS^T u;  da = S^T du;
//   dw = the sum of dS * S over the values;  dr = the state after it^T dy = w S^T dy + b u.dy + k
//   v.dy; and the gradient of S is dS diag(w) + du a^T.
std::vector<at::Tensor> backward(at::Tensor dy_, at::Tensor u_, at::Tensor saved_, at::Tensor r_,
                                 at::Tensor w_, at::Tensor k_, at::Tensor v_, at::Tensor a_,
                                 at::Tensor b_) {
  const Shape s = shape_of(r_);
  const float *r = data(r_), *w = data(w_), *k = data(k_), *v = data(v_), *a = data(a_),
              *b = data(b_);
  const float *dy = data(dy_), *u = data(u_), *saved = data(saved_);
  std::vector<at::Tensor> gradients;
  float* g[6];
  for (auto& pointer : g) {
    gradients.push_back(at::empty_like(r_));
    pointer = gradients.back().data_ptr<float>();
  }
  at::parallel_for(0, s.B * s.H, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> states(CHUNK * N * N);
    for (int64_t head = begin; head < end; ++head) {
      alignas(64) float dS[N * N] = {};
      for (int64_t chunk = s.chunks() - 1; chunk >= 0; --chunk) {
        replay(saved + (head * s.chunks() + chunk) * N * N, s, head, chunk, w, k, v, b, u,
               states.data());
        for (int t = CHUNK - 1; t >= 0; --t) {
          const int64_t o = s.at(head, chunk * CHUNK + t);
          const float* S = states.data() + t * N * N;
          const Row rt = load(r + o), kt = load(k + o), bt = load(b + o);
          alignas(64) float du[N];
          for (int i = 0; i < N; i += LANES) {
            Vec v_parts[LANES], u_parts[LANES];
            for (int n = 0; n < LANES; ++n) {
              prefetch_row(S + (i + n) * N);
              const Row G = load(dS + (i + n) * N) + rt * dy[o + i + n];
              store(dS + (i + n) * N, G);
              v_parts[n] = products(G, kt);
              u_parts[n] = products(G, bt);
            }
            vec(g[3] + o + i) = sums_of_lanes(v_parts);
            vec(du + i) = sums_of_lanes(u_parts);
          }
          const float u_dy = dot(u + o, dy + o), v_dy = dot(v + o, dy + o);
          for (int j = 0; j < N; j += LANES) {
            const Vec wt = vec(w + o + j), at = vec(a + o + j);
            Vec dr{}, dw{}, dk{}, da{}, db{};
            for (int i = 0; i < N; ++i) {
              const Vec G = vec(dS + i * N + j), before = vec(S + i * N + j);
              dr += before * dy[o + i];
              dw += G * before;
              dk += G * v[o + i];
              da += before * du[i];
              db += G * u[o + i];
              vec(dS + i * N + j) = G * wt + at * du[i];
            }
            vec(g[0] + o + j) = dr * wt + u_dy * vec(b + o + j) + v_dy * vec(k + o + j);
            vec(g[1] + o + j) = dw;
            vec(g[2] + o + j) = dk;
            vec(g[4] + o + j) = da;
            vec(g[5] + o + j) = db;
          }
        }
      }
    }
  });
  return gradients;
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &forward);
  m.def("backward", &backward);
}
