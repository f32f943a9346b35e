// The RWKV-7 recurrence and its gradient on a CPU, as a PyTorch operator. wkv_cpu.py loads it.
//
// Step by step, because on a CPU the chunked form only costs: S of a head (16 KB) stays in the
// first cache, each row in four vectors of 16 floats. Heads of all sequences are independent and
// are shared out between the threads.
#include <ATen/Parallel.h>
#include <torch/extension.h>

#include <cstring>
#include <vector>

namespace {

constexpr int N = 64;      // channels of a head
constexpr int CHUNK = 16;  // tokens between two saved states
constexpr int LANES = 16;  // floats of a vector; a row is four vectors

typedef float Vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

// A row of a state. Four members and no array: an array keeps the compiler from holding the row in
// registers.
struct Row {
  Vec a, b, c, d;
};

inline Row load(const float* p) {
  const Vec* v = reinterpret_cast<const Vec*>(p);
  return {v[0], v[1], v[2], v[3]};
}

inline void store(float* p, const Row& x) {
  Vec* v = reinterpret_cast<Vec*>(p);
  v[0] = x.a, v[1] = x.b, v[2] = x.c, v[3] = x.d;
}

inline Row operator*(const Row& x, const Row& y) {
  return {x.a * y.a, x.b * y.b, x.c * y.c, x.d * y.d};
}
inline Row operator*(const Row& x, float y) {
  return {x.a * y, x.b * y, x.c * y, x.d * y};
}
inline Row operator+(const Row& x, const Row& y) {
  return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d};
}

inline float dot(const Row& x, const Row& y) {
  const Row product = x * y;
  const Vec sum = (product.a + product.b) + (product.c + product.d);
  // Halves onto halves: left to itself the compiler adds the lanes one by one.
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  const Half half = __builtin_shufflevector(sum, sum, 0, 1, 2, 3, 4, 5, 6, 7) +
                    __builtin_shufflevector(sum, sum, 8, 9, 10, 11, 12, 13, 14, 15);
  const Quarter quarter = __builtin_shufflevector(half, half, 0, 1, 2, 3) +
                          __builtin_shufflevector(half, half, 4, 5, 6, 7);
  return (quarter[0] + quarter[1]) + (quarter[2] + quarter[3]);
}

// S <- S diag(w) + u b + v k, with u = S a of the old state; u[N] is kept for the gradient. y may
// be null.
void step(float* S, const Row& w, const Row& k, const float* v, const Row& a, const Row& b,
          const Row& r, float* u, float* y) {
  for (int i = 0; i < N; ++i) {
    const Row old = load(S + i * N);
    const float removed = dot(old, a);
    const Row row = old * w + b * removed + k * v[i];
    store(S + i * N, row);
    u[i] = removed;
    if (y) y[i] = dot(row, r);
  }
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

// Returns y and the state before every chunk.
std::vector<at::Tensor> forward(at::Tensor r_, at::Tensor w_, at::Tensor k_, at::Tensor v_,
                                at::Tensor a_, at::Tensor b_) {
  const Shape s = shape_of(r_);
  const float *r = data(r_), *w = data(w_), *k = data(k_), *v = data(v_), *a = data(a_),
              *b = data(b_);
  at::Tensor y_ = at::empty_like(r_);
  at::Tensor saved_ = at::empty({s.B * s.H, s.chunks(), N, N}, r_.options());
  float *y = y_.data_ptr<float>(), *saved = saved_.data_ptr<float>();
  at::parallel_for(0, s.B * s.H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      alignas(64) float S[N * N] = {}, u[N];
      for (int64_t t = 0; t < s.T; ++t) {
        if (t % CHUNK == 0)
          std::memcpy(saved + (head * s.chunks() + t / CHUNK) * N * N, S, sizeof S);
        const int64_t o = s.at(head, t);
        step(S, load(w + o), load(k + o), v + o, load(a + o), load(b + o), load(r + o), u, y + o);
      }
    }
  });
  return {y_, saved_};
}

// Gradients of r, w, k, v, a, b. With dS the gradient of the state after a token:
//   dS += dy r^T;  dr = S^T dy;  dv = dS k;  du = dS b;  dk = dS^T v;  db = dS^T u;  dw = sum of dS
//   * S';  da = S'^T du and the gradient of the state before it, S', is dS diag(w) + du a^T.
std::vector<at::Tensor> backward(at::Tensor dy_, at::Tensor saved_, at::Tensor r_, at::Tensor w_,
                                 at::Tensor k_, at::Tensor v_, at::Tensor a_, at::Tensor b_) {
  const Shape s = shape_of(r_);
  const float *r = data(r_), *w = data(w_), *k = data(k_), *v = data(v_), *a = data(a_),
              *b = data(b_);
  const float *dy = data(dy_), *saved = data(saved_);
  std::vector<at::Tensor> gradients;
  float* g[6];
  for (auto& pointer : g) {
    gradients.push_back(at::empty_like(r_));
    pointer = gradients.back().data_ptr<float>();
  }
  at::parallel_for(0, s.B * s.H, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> states((CHUNK + 1) * N * N), us(CHUNK * N);
    for (int64_t head = begin; head < end; ++head) {
      alignas(64) float dS[N * N] = {};
      for (int64_t chunk = s.chunks() - 1; chunk >= 0; --chunk) {
        // The states of the chunk again, from the saved one.
        std::memcpy(states.data(), saved + (head * s.chunks() + chunk) * N * N, sizeof dS);
        for (int t = 0; t < CHUNK; ++t) {
          const int64_t o = s.at(head, chunk * CHUNK + t);
          float* next = states.data() + (t + 1) * N * N;
          std::memcpy(next, next - N * N, sizeof dS);
          step(next, load(w + o), load(k + o), v + o, load(a + o), load(b + o), load(r + o),
               us.data() + t * N, nullptr);
        }
        for (int t = CHUNK - 1; t >= 0; --t) {
          const int64_t o = s.at(head, chunk * CHUNK + t);
          const float *before = states.data() + t * N * N, *after = before + N * N,
                      *u = us.data() + t * N;
          const Row rt = load(r + o), wt = load(w + o), kt = load(k + o), at = load(a + o),
                    bt = load(b + o);
          Row dr{}, dw{}, dk{}, da{}, db{};
          for (int i = 0; i < N; ++i) {
            const Row G = load(dS + i * N) + rt * dy[o + i];
            const Row S0 = load(before + i * N);
            const float du = dot(G, bt);
            g[3][o + i] = dot(G, kt);
            dr = dr + load(after + i * N) * dy[o + i];
            dw = dw + G * S0;
            dk = dk + G * v[o + i];
            da = da + S0 * du;
            db = db + G * u[i];
            store(dS + i * N, G * wt + at * du);
          }
          store(g[0] + o, dr);
          store(g[1] + o, dw);
          store(g[2] + o, dk);
          store(g[4] + o, da);
          store(g[5] + o, db);
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
