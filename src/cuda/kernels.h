// The launchers of all kernels, and their arguments. Pointers are device memory unless they say
// otherwise; shapes stand in brackets; launchers only queue work. kernels/*.h has the kernels.
//
// A step's rows are those of model/rows.h. Few of them go through kernels that compute in fp32 and
// read each weight once for up to four rows (gemv, recur, contract), some through tensor cores and
// one read for up to 32 (tiles, lines), many through cuBLASLt and kernels around it, or, where
// weights are codes, through products of integers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/device_matrix.h"

namespace anser::cuda {

// Shared memory that a kernel may have of its own beside what its launch gives it.
constexpr size_t kOwnSharedBytes = 1024;
// Rows that a step may have: the second and third dimension of a grid end there.
constexpr int kGridRows = 65535;

// What decides how work is divided; it changes no result.
struct Card {
  int processors;
  size_t shared_bytes;  // that a launch may give a block
};

// A row of a step: its token, and the run that it belongs to.
struct RowEntry {
  int token;
  int run;
};
// Many tokens of one sequence go through the recurrence in chunks of so many. Chunks lie at
// multiples of it, counted from the beginning of the context, wherever calls are cut.
constexpr int kChunkTokens = 16;

// Consecutive rows of one sequence, whose state is at `state`; nullptr: rows that only fill a step
// up to a number for which it was recorded, whose results nobody wants.
struct RunEntry {
  float* state;
  int first, count;
  int in_chunk;  // the place of the first row in its chunk, 0 to kChunkTokens - 1

  // The rows before the first chunk that begins here, and the number of whole chunks after them.
  constexpr int before_chunks() const {
    const int left = (kChunkTokens - in_chunk) % kChunkTokens;
    return left < count ? left : count;
  }
  constexpr int chunks() const { return (count - before_chunks()) / kChunkTokens; }
};
struct StepTable {
  const RowEntry* rows;
  const RunEntry* runs;
  int row_count, run_count;
};

enum class Epilogue : uint8_t { store, add, tanh, sigmoid, relu_squared };

struct NormWeights {
  const float *weight, *bias;  // [D]
  float eps;
};

// Rows that tensor cores read are filled up with zeros to so many numbers.
constexpr int padded_to_octets(int n) {
  return (n + 7) / 8 * 8;
}

// Activations as codes, what products of integers read: where a type of activations is given,
// Format::bytes means them. Every 32 inputs of a row have a scale, x = scale * code, the largest
// magnitude of them / 127, and codes are rounded to nearest, as the CPU backend does it. In memory
// they are int8 [rows][inputs], then pairs of floats [rows][inputs / 32][2]: the scale, and the
// scale times the sum of the codes. `inputs` is a multiple of 32, as quantised matrices have it.
constexpr int kCodeGroup = 32;

// x[row] = LN0(E[token]), or E[token] where the norm has no weight
struct EmbedArgs {
  StepTable step;
  DeviceMatrix table;  // [V][D]
  NormWeights norm;
  float* x;  // [rows][D]
};
void embed(void* stream, const EmbedArgs& args);

// What a product reads.
enum class Source : uint8_t {
  plain,  // x
  norm,   // LN(x)
  shift,  // z + (previous z - z) mix, with z = LN(x)
};

// One matrix of a group: y = epilogue(W input).
struct GemvSegment {
  DeviceMatrix W;
  const float* mix = nullptr;  // [D], of Source::shift
  float* y = nullptr;          // [rows][W.rows]
  Epilogue epilogue = Epilogue::store;
  int first_block = 0, blocks = 0;  // set by the launcher
};
struct GemvArgs {
  GemvSegment segments[7];
  int count = 0;
  Source source = Source::plain;
  const float* x = nullptr;     // [..][width]
  const int* row_of = nullptr;  // row r of the input is row row_of[r] of x; nullptr: r
  int rows = 0, width = 0;
  NormWeights norm = {};
  StepTable step = {};       // of Source::shift:
  int64_t shift_offset = 0;  //   of the previous z in a state
  float* z = nullptr;        //   [rows][width], receives LN(x)
};
void gemv(void* stream, const GemvArgs& args, const Card& card);

// Source::shift's inputs of several matrices, for many rows, in the type that GEMMs read.
struct MixArgs {
  const float* x;  // [rows][width]
  int width;
  NormWeights norm;
  StepTable step;
  int64_t shift_offset;
  const float* mix[7];  // [width] each; nullptr: LN(x) itself
  void* to[7];          // [rows][width]
  int count;
  unsigned coded;     // bit m: to[m] is of Format::bytes instead of
  Format type;        // f32, f16 or bf16
  const int* row_of;  // as in GemvArgs; with it there is no shift
  int rows;
  float* z;  // [rows][width], or nullptr
};
void mix(void* stream, const MixArgs& args);

// to = from, in the type that products read.
struct ConvertArgs {
  const float* from;
  void* to;
  int64_t count;
  Format type;
};
void convert(void* stream, const ConvertArgs& args);

// A matrix in the type that GEMMs read, [stored rows][stored columns] without padding.
struct WidenArgs {
  DeviceMatrix W;
  void* to;
  Format type;
};
void widen(void* stream, const WidenArgs& args);

// The time mix; the equations stand in model/forward.h.
struct RecurArgs {
  StepTable step;
  int heads, head_size;
  int64_t layer_offset;  // of this layer in a state, in floats: att_shift, ffn_shift, wkv
  bool state16;          // wkv is f16; the shifts and all arithmetic are fp32 all the same
  const float *r, *k;    // [rows][D]
  float* v;              // [rows][D]; layer 0 writes it as v_first, later layers blend
  const float* v_first;  // [rows][D]; nullptr in layer 0
  // The second halves of the low-rank pairs: either to be computed from the first halves' outputs,
  const float *w1, *a1, *g1, *v1;  // [rows][rank]
  DeviceMatrix w2, a2, g2, v2;     // [D][rank]
  // or already there (many rows), without biases and activations; w_up == nullptr: to be computed.
  const float *w_up, *a_up, *g_up, *v_up;  // [rows][D]
  const float *w0, *a0, *v0, *k_k, *k_a, *r_k;
  NormWeights ln_x;
  const float* z;  // [rows][D]: what becomes the state's att_shift
  float* y;        // [rows][D]
  // Instead of y where tensor cores read it next, in their type; nullptr: y.
  void* halves;
  Format halves_type;
  // Many rows only: what passes between the three kernels.
  float* vectors;  // [rows][heads][6][head_size]: r w k -kk kk*a v
  float* bonus;    // [rows][heads]
  float* decays;   // [ceil(rows / kChunkTokens)][D], of recur_chunked()
};
// True for the head sizes that there are kernels for: 16, 32, 64, 128.
bool recur_supports(int head_size);
// Few rows: one kernel, a block for every head of every run.
void recur(void* stream, const RecurArgs& args);
// Many rows: all vectors at once; the scan, parallel over runs, heads and value rows; norms and
// gates. The same bits as recur() where the same numbers go in.
void recur_many(void* stream, const RecurArgs& args);
// True for the head sizes that recur_chunked() has kernels for: 32, 64, 128.
bool chunks_support(int head_size);
// recur_many() with tile products for whole chunks of tokens, where the scan of a long prompt is a
// chain of single tokens. Needs compute capability 8.0. kernels/chunk.h says how exact it is, and
// what it promises about bits. Overwrites `vectors`.
void recur_chunked(void* stream, const RecurArgs& args);
// The parts of the two between vectors and norms: they read `vectors`, advance states and write
// y = S r.
void scan(void* stream, const RecurArgs& args);
void scan_chunks(void* stream, const RecurArgs& args);

// Where blocks that have shares of the same sums leave them.
struct Shares {
  float* partial;     // share_floats() of them
  unsigned* arrived;  // share_counters() of them; zero before and after
};
// Of contract() and lines() with `cols` inputs, for up to so many rows of `width`.
int64_t share_floats(int cols, int rows, int width);
int share_counters(int rows, int width);

// x += value h for few rows, reading only those columns of `value` whose h is not zero in a row.
struct ContractArgs {
  DeviceMatrix value;  // stored transposed: [F][D]
  const float* h;      // [rows][F]
  float* x;            // [rows][D]
  int rows;
  Shares shares;
  unsigned long long* nonzero;  // [1] counts what is not zero in h
  // The channel mix's shift is stored on the way.
  StepTable step;
  int64_t shift_offset;
  const float* z;  // [rows][D]
};
void contract(void* stream, const ContractArgs& args);

// Products of some rows on tensor cores. The type of activations is f16 or bf16; weights of other
// formats become it in registers.
struct TileSegment {
  DeviceMatrix W;           // not transposed
  const void* x = nullptr;  // [rows][padded_to_octets(W.cols)], zeros behind W.cols
  void* y = nullptr;        // [rows][W.rows] fp32, or, `halves`, like x, times `scale`
  Epilogue epilogue = Epilogue::store;
  bool halves = false;
  float scale = 1;
  int first_block = 0;  // set by the launcher
};
struct TilesArgs {
  TileSegment segments[7];
  int count = 0;
  int rows = 0;
};
void tiles(void* stream, const TilesArgs& args, Format type, const Card& card);

// x += scale W h, all of it, with W transposed: what contract() is for more rows.
struct LinesArgs {
  DeviceMatrix W;  // [F][D]
  const void* h;   // [rows][padded_to_octets(F)], zeros behind F
  float scale;
  float* x;  // [rows][D]
  int rows;
  Shares shares;
  // As in ContractArgs.
  StepTable step;
  int64_t shift_offset;
  const float* z;
};
void lines(void* stream, const LinesArgs& args, Format type);

// Products of many rows with matrices of codes, in integers on tensor cores: 32 inputs (16 where
// the weights' groups are) are summed exactly, these sums in fp32 in their order. The number of
// rows changes no bit.
struct IntegersSegment {
  DeviceMatrix W;                       // of bytes or nibbles
  const void* x = nullptr;              // [rows][W.cols] of Format::bytes
  float* y = nullptr;                   // [rows][W.rows]
  Epilogue epilogue = Epilogue::store;  // or add
  int first_block = 0;                  // set by the launcher
};
struct IntegersArgs {
  IntegersSegment segments[3];  // all transposed or none
  int count = 0;
  int rows = 0;
};
void integers(void* stream, const IntegersArgs& args, const Card& card);

// h = relu(key)^2 for many rows, scaled, in the type that products read; stores the shift, too.
struct ReluSquaredArgs {
  const float* key;  // [rows][F]
  void* to;          // [rows][padded_to_octets(F)]
  int rows, ffn;
  Format type;
  float scale;
  StepTable step;
  int width;
  int64_t shift_offset;
  const float* z;
};
void relu_squared(void* stream, const ReluSquaredArgs& args);

// Copies rows of logits to where they stay.
struct DeliverArgs {
  const float* from;  // [rows][vocab]
  float* const* to;   // [rows]: [vocab] each, or nullptr: nowhere
  int* not_finite;    // [rows] becomes 1 where a logit is not finite, else stays as it is
  int rows, vocab;
};
void deliver(void* stream, const DeliverArgs& args);

// What a sampler needs of rows of logits; anser/sampling.h, Candidates, says what for.
struct CandidateChange {
  int id;
  float minus;
};
struct CandidateRow {
  const float* logits;             // [vocab]
  const CandidateChange* changes;  // [change_count], ids ascending; logit - minus is what counts
  int change_count;
  int most;                   // so many candidates at the most; 0: the best alone is wanted
  float inverse_temperature;  // of the weights in `rest`
};
struct FoundCandidate {
  int id;
  float logit;
};
struct FoundRow {
  int best;         // of the largest logits the lowest id
  float max;        // its logit; -inf: no token is possible, and there is no best
  int count;        // of candidates
  int all;          // 1: all possible tokens (not of -inf) are candidates
  int well_formed;  // 1: no logit is NaN or +inf; 0: all else is meaningless
  float rest;       // the sum of exp((logit - max) / temperature) over all others
};
struct CandidatesArgs {
  const CandidateRow* rows;  // [row_count]
  int row_count, vocab;
  int stride;                  // of `candidates`: the largest `most`
  FoundRow* found;             // [row_count]
  FoundCandidate* candidates;  // [row_count][stride], ids ascending
};
// The candidates of a row are the tokens whose logit is above a threshold: never more than `most`,
// and as many as a threshold with 22 leading bits allows. So equal logits are candidates together
// or not at all. The same bits at every call.
void candidates(void* stream, const CandidatesArgs& args);
// Up to what size of the vocabulary.
bool candidates_support(int vocab);
// How much `rest` may be wrong by, relative to itself and beside underflow, which takes less than
// 2^-126 from a token.
double candidates_rest_error(int vocab);

// For measuring: reads `bytes`, a multiple of 256, and adds to *sum what keeps the reads alive.
struct ReadArgs {
  const void* from;
  int64_t bytes;
  float* sum;
};
void read_all(void* stream, const ReadArgs& args);

// For measuring: `count` numbers in f16, evenly distributed from -1 to 1.
struct NoiseArgs {
  void* to;
  int64_t count;
  unsigned seed;
};
void fill_noise(void* stream, const NoiseArgs& args);

}  // namespace anser::cuda
