// The MOML event by hand, MLP 1-40-40-1 with ReLU, K = 10 + 10, float32: the limit that a compiler could reach.
// Parameters lie flat: W1 (40, 1), b1 (40), W2 (40, 40), b2 (40), W3 (1, 40), b3 (1).
#include <cmath>

namespace {
constexpr int H = 40, K = 10, D = 1761;
constexpr int B1 = H, W2 = 2 * H, B2 = W2 + H * H, W3 = B2 + H, B3 = W3 + H;

struct Tape {
  float first[K][H], second[K][H], slope1[K][H], slope2[K][H], out[K];
  bool mask1[K][H], mask2[K][H];
};

float forward(const float* w, const float* x, const float* y, Tape& t) {
  float total = 0;
  for (int k = 0; k < K; ++k) {
    for (int i = 0; i < H; ++i) {
      float a = w[i] * x[k] + w[B1 + i];
      t.mask1[k][i] = a > 0;
      t.first[k][i] = a > 0 ? a : 0;
    }
    float o = w[B3];
    for (int j = 0; j < H; ++j) {
      float a = w[B2 + j];
      for (int i = 0; i < H; ++i) a += w[W2 + j * H + i] * t.first[k][i];
      t.mask2[k][j] = a > 0;
      t.second[k][j] = a > 0 ? a : 0;
      o += w[W3 + j] * t.second[k][j];
    }
    float e = o - y[k];
    total += e * e;
    t.out[k] = 2 * e / K;
  }
  return total / K;
}

void backward(const float* w, const float* x, Tape& t, float* g) {
  for (int d = 0; d < D; ++d) g[d] = 0;
  for (int k = 0; k < K; ++k) {
    float o = t.out[k], carried[H] = {};
    g[B3] += o;
    for (int j = 0; j < H; ++j) {
      g[W3 + j] += o * t.second[k][j];
      float s = t.mask2[k][j] ? o * w[W3 + j] : 0;
      t.slope2[k][j] = s;
      g[B2 + j] += s;
      for (int i = 0; i < H; ++i) {
        g[W2 + j * H + i] += s * t.first[k][i];
        carried[i] += s * w[W2 + j * H + i];
      }
    }
    for (int i = 0; i < H; ++i) {
      float s = t.mask1[k][i] ? carried[i] : 0;
      t.slope1[k][i] = s;
      g[i] += s * x[k];
      g[B1 + i] += s;
    }
  }
}

void hessian(const float* w, const float* x, const Tape& t, const float* v, float* g) {
  for (int d = 0; d < D; ++d) g[d] = 0;
  for (int k = 0; k < K; ++k) {
    float r1[H], r2[H], carried[H] = {}, ro = v[B3];
    for (int i = 0; i < H; ++i) r1[i] = t.mask1[k][i] ? v[i] * x[k] + v[B1 + i] : 0;
    for (int j = 0; j < H; ++j) {
      float a = v[B2 + j];
      for (int i = 0; i < H; ++i) a += w[W2 + j * H + i] * r1[i] + v[W2 + j * H + i] * t.first[k][i];
      r2[j] = t.mask2[k][j] ? a : 0;
      ro += w[W3 + j] * r2[j] + v[W3 + j] * t.second[k][j];
    }
    ro *= 2.0f / K;
    g[B3] += ro;
    for (int j = 0; j < H; ++j) {
      g[W3 + j] += ro * t.second[k][j] + t.out[k] * r2[j];
      float s = t.mask2[k][j] ? ro * w[W3 + j] + t.out[k] * v[W3 + j] : 0, s0 = t.slope2[k][j];
      g[B2 + j] += s;
      for (int i = 0; i < H; ++i) {
        g[W2 + j * H + i] += s * t.first[k][i] + s0 * r1[i];
        carried[i] += s * w[W2 + j * H + i] + s0 * v[W2 + j * H + i];
      }
    }
    for (int i = 0; i < H; ++i) {
      float s = t.mask1[k][i] ? carried[i] : 0;
      g[i] += s * x[k];
      g[B1 + i] += s;
    }
  }
}
}  // namespace

// Learns from one event; `reported` takes the six numbers of `Reported`. rates: alpha, beta, meta_lr, momentum.
extern "C" void moml_event(float* w, float* momentum, float* memory, unsigned char* seen, const float* rates,
                           const float* sx, const float* sy, const float* qx, const float* qy, float* reported) {
  static Tape support, query;
  static float gradient[D], target[D], h[D], product[D];
  float alpha = rates[0], rate = *seen ? rates[1] : 1.0f;
  forward(w, sx, sy, support);
  backward(w, sx, support, gradient);
  for (int d = 0; d < D; ++d) target[d] = w[d] - alpha * gradient[d];
  reported[0] = forward(w, qx, qy, query);
  reported[1] = forward(target, qx, qy, query);
  reported[2] = *seen ? forward(memory, qx, qy, query) : 0.0f;
  float distance = 0, squared = 0, moved = 0;
  for (int d = 0; d < D; ++d) {
    memory[d] = *seen ? memory[d] + rate * (target[d] - memory[d]) : target[d];
    distance += (memory[d] - target[d]) * (memory[d] - target[d]);
  }
  forward(memory, qx, qy, query);
  backward(memory, qx, query, h);
  hessian(w, sx, support, h, product);
  for (int d = 0; d < D; ++d) {
    float v = h[d] - alpha * product[d];
    squared += v * v;
    momentum[d] = rates[3] * momentum[d] + v;
    float step = rates[2] * momentum[d];
    moved += step * step;
    w[d] -= step;
  }
  *seen = 1;
  reported[3] = std::sqrt(squared);
  reported[4] = std::sqrt(moved);
  reported[5] = std::sqrt(distance);
}
