// Emissions by a network: convolutions over time and what stands between them, from rows of features to rows of log-weights, one
// row at a time, each as soon as it can be known. Weights and sums are float32, as PyTorch's.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace semihmm_runtime {

// `taps` rows, `dilation` apart, by a matrix each; every `stride` rows. Of one tap it is a linear layer.
struct Convolution {
    std::size_t inputs = 0, outputs = 0, taps = 1, stride = 1, dilation = 1;
    std::size_t before = 0, after = 0;  // rows of padding at the ends
    bool replicate = false;             // whether padding repeats the row at the end; else it is zeros
    std::vector<float> weight;          // (outputs, inputs, taps)
    std::vector<float> bias;            // (outputs), or empty

    std::size_t span() const { return (taps - 1) * dilation + 1; }
};

struct Activation {
    enum class Function { relu, leaky_relu, gelu, gelu_tanh, silu, tanh, sigmoid } function = Function::relu;
    float slope = 0;  // of leaky_relu below 0
};

// Each row made standard, then scaled and moved.
struct LayerNorm {
    float epsilon = 1e-5F;
    std::vector<float> scale, shift;  // or empty
};

// x scale + shift: what is left of batch normalisation, of features made standard, and of log-priors.
struct Affine {
    std::vector<float> scale, shift;
};

struct LogSoftmax {};

// What lies between the two is added to what came in. It must keep the number of rows and their width.
struct ResidualBegin {};
struct ResidualEnd {};

using Layer = std::variant<Convolution, Activation, LayerNorm, Affine, LogSoftmax, ResidualBegin, ResidualEnd>;

class Network {
public:
    explicit Network(std::size_t inputs) : inputs_(inputs), widths_{inputs} {}

    // Adds a layer; says what is wrong with it, and is unchanged, or says nothing.
    std::string add(Layer layer);
    // What is wrong with them all together; empty if nothing.
    std::string refusal() const;

    std::size_t inputs() const { return inputs_; }
    std::size_t outputs() const { return widths_.back(); }
    std::size_t stride() const { return stride_; }          // rows in for one out
    std::size_t look_ahead() const { return look_ahead_; }  // rows that follow the last one that a row speaks for
    // How many rows come out of so many.
    std::size_t rows(std::size_t count) const;

private:
    friend class NetworkStream;
    struct Residual {
        std::size_t width, queue;
        std::size_t pending = 1;  // rows that went in and have not come out
    };

    bool keep(std::size_t rows, std::size_t width);

    std::size_t inputs_, stride_ = 1, look_ahead_ = 0, kept_ = 0;
    std::vector<Layer> layers_;
    std::vector<std::size_t> widths_;  // before each layer, and after the last one
    std::vector<Residual> open_;
    std::vector<std::size_t> queues_;  // of each ResidualBegin, in their order: the most rows pending
};

// Rows in, rows out; nothing is allocated after construction. The network must outlive it.
//
//     for (row : rows) { stream.push(row); while (stream.pull(out)) use(out); }
//     stream.finish();
//     while (stream.pull(out)) use(out);
class NetworkStream {
public:
    explicit NetworkStream(const Network& network);

    // As it was at first: for another sequence.
    void reset();
    // Takes a row of `inputs` numbers; all that can be pulled must have been.
    void push(std::span<const float> row);
    // There are no more rows.
    void finish() { ended_ = true; }
    // Writes the next row of `outputs` numbers, if it is known.
    bool pull(std::span<float> out);

private:
    struct Stage {
        std::vector<float> ring;  // rows that came in, of a convolution; rows pending, of a residual's begin
        std::vector<float> held;  // the first row, then the latest
        std::size_t added = 0, next = 0, before = 0, after = 0;
        bool begun = false, waiting = false;  // waiting: `held` is to be added to the ring after the padding
        std::size_t partner = 0;              // of a residual's end: its begin
    };

    bool pull(std::size_t layers, float* out);
    bool feed(std::size_t layer, const Convolution& convolution, Stage& stage);

    const Network& network_;
    std::vector<Stage> stages_;
    std::vector<float> row_;
    std::vector<const float*> taps_;
    bool full_ = false, ended_ = false;
};

}  // namespace semihmm_runtime
