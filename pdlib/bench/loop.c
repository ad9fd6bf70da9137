// Batch-1 SGD of a one-hidden-layer ReLU network with a softmax of two classes, as one would write it by hand. It is the
// peer of pdlib/training/online_sgd.py, and a second route to the same weights; the bench compiles it when it runs.

#include <math.h>

// Take n steps, one on each row of x. w (d, m), b (m), a (2, m), c (2), x (n, d), y (n); z holds m floats to work in.
void train(float *restrict w, float *restrict b, float *restrict a, float *restrict c, const float *restrict x,
           const unsigned char *restrict y, float *restrict z, float rate, int n, int d, int m) {
    float *a0 = a, *a1 = a + m;
    for (int t = 0; t < n; t++, x += d) {
        for (int u = 0; u < m; u++) z[u] = b[u];
        for (int i = 0; i < d; i++)
            for (int u = 0; u < m; u++) z[u] += x[i] * w[i * m + u];
        float logit0 = c[0], logit1 = c[1];
        for (int u = 0; u < m; u++) {
            float hidden = z[u] > 0 ? z[u] : 0;
            logit0 += a0[u] * hidden;
            logit1 += a1[u] * hidden;
        }
        float p = 1 / (1 + expf(logit0 - logit1));            // of class 1
        float step1 = -rate * (p - y[t]), step0 = -step1;     // minus the rate times the gradient of the logits
        c[0] += step0;
        c[1] += step1;
        for (int u = 0; u < m; u++) {
            float hidden = z[u] > 0 ? z[u] : 0;
            z[u] = z[u] > 0 ? step0 * a0[u] + step1 * a1[u] : 0;
            a0[u] += step0 * hidden;
            a1[u] += step1 * hidden;
            b[u] += z[u];
        }
        for (int i = 0; i < d; i++)
            for (int u = 0; u < m; u++) w[i * m + u] += x[i] * z[u];
    }
}
