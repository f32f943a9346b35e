// The functions between the matrices. All take any argument: a NaN stays a NaN, infinities and huge
// numbers saturate, and no step on the way overflows or leaves the normal numbers.

typedef uint32_t PartBits __attribute__((vector_size(sizeof(Part))));

// e^x = 2^n (1 + q) with |x - n ln 2| <= ln(2) / 2.
struct ExpParts {
  Vec q;      // e^(x - n ln 2) - 1, good to a few 1e-8 of itself, so that expm1 is accurate at 0
  Vec power;  // 2^n
};

ANSER_INLINE ExpParts exp_parts(Vec x) {
  // e^87 and e^-87 and all on the way to them are normal. max returns its second argument for NaN.
  x = max(broadcast(-87.0f), x);
  x = broadcast(0.0f) - max(broadcast(-87.0f), broadcast(0.0f) - x);

  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
  const Vec magic = broadcast(0x1.8p23f);
  const Vec biased = fma(x, broadcast(0x1.715476p0f), magic);  // 1 / ln 2
  const Vec n = biased - magic;
  // ln 2 in two pieces; the first has 9 bits, so its product with n is exact.
  Vec r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);

  // Taylor's coefficients: the first one left out, r^8 / 8!, is at most 5e-9.
  Vec q = fma(broadcast(1.0f / 5040), r, broadcast(1.0f / 720));
  q = fma(q, r, broadcast(1.0f / 120));
  q = fma(q, r, broadcast(1.0f / 24));
  q = fma(q, r, broadcast(1.0f / 6));
  q = fma(q, r, broadcast(1.0f / 2));
  q = fma(q * r, r, r);

  Vec power;
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) {
    power.p[i] = (Part)(((PartBits)biased.p[i] << 23) + 0x3f800000u);
  }
  return {q, power};
}

// Relative error about 1e-7. Saturates at e^87 and e^-87, 6e37 and 2e-38.
ANSER_INLINE Vec exp(Vec x) {
  const ExpParts e = exp_parts(x);
  return fma(e.q, e.power, e.power);
}

ANSER_INLINE Vec sigmoid(Vec x) {
  const Vec one = broadcast(1.0f);
  return one / (one + exp(broadcast(0.0f) - x));
}

// tanh x = t / (t + 2) with t = e^2x - 1, which loses nothing near 0.
ANSER_INLINE Vec tanh(Vec x) {
  const ExpParts e = exp_parts(x + x);
  const Vec t = fma(e.q, e.power, e.power - broadcast(1.0f));
  return t / (t + broadcast(2.0f));
}

// The RWKV-7 decay exp(-exp(-1/2) sigmoid(x)).
ANSER_INLINE Vec decay(Vec x) {
  return exp(broadcast(-0.6065306597f) * sigmoid(x));
}

ANSER_INLINE Vec relu_squared(Vec x) {
  const Vec positive = max(broadcast(0.0f), x);
  return positive * positive;
}

// y is what stood in memory before; only Epilogue::add looks at it.
ANSER_INLINE Vec apply_epilogue(Epilogue epilogue, Vec z, Vec y) {
  switch (epilogue) {
    case Epilogue::store:
      return z;
    case Epilogue::add:
      return y + z;
    case Epilogue::tanh:
      return tanh(z);
    case Epilogue::sigmoid:
      return sigmoid(z);
    case Epilogue::relu_squared:
      return relu_squared(z);
    case Epilogue::decay:
      return decay(z);
  }
  return z;
}
