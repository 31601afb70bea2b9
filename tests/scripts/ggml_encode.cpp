// ggml's own block encoders and decoders, for our tests and benches to compare with.
//
//   ggml_encode TYPE COLS VALUES.f32 [WEIGHTS.f32 | -] [OUT.bin] [REPEATS]
//
// Encodes the values (rows of COLS, F32 little endian) with one thread and prints one line of JSON: seconds (the median
// of REPEATS), bytes, and the weighted squared error of its own decoding, weights of COLS values or 1.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ggml.h"

static std::vector<float> read(const char * path) {
    FILE * file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    std::vector<float> values(ftell(file) / 4);
    rewind(file);
    if (fread(values.data(), 4, values.size(), file) != values.size()) exit(1);
    fclose(file);
    return values;
}

int main(int argc, char ** argv) {
    if (argc < 4) return 2;
    ggml_type type = GGML_TYPE_COUNT;
    for (int id = 0; id < GGML_TYPE_COUNT; id++) {
        const char * name = ggml_type_name((ggml_type) id);
        if (name && strcasecmp(name, argv[1]) == 0) type = (ggml_type) id;
    }
    if (type == GGML_TYPE_COUNT) { fprintf(stderr, "unknown type %s\n", argv[1]); return 2; }
    const int64_t cols = atoll(argv[2]);
    const auto values = read(argv[3]);
    std::vector<float> weights;
    if (argc > 4 && strcmp(argv[4], "-") != 0) weights = read(argv[4]);
    const int repeats = argc > 6 ? atoi(argv[6]) : 1;
    const int64_t rows = values.size() / cols;
    std::vector<unsigned char> out(rows * ggml_row_size(type, cols));
    ggml_quantize_init(type);
    std::vector<double> seconds;
    for (int i = 0; i < repeats; i++) {
        const auto start = std::chrono::steady_clock::now();
        ggml_quantize_chunk(type, values.data(), out.data(), 0, rows, cols, weights.empty() ? nullptr : weights.data());
        seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(seconds.begin(), seconds.end());
    std::vector<float> decoded(values.size());
    ggml_get_type_traits(type)->to_float(out.data(), decoded.data(), values.size());
    double error = 0;
    for (size_t i = 0; i < values.size(); i++) {
        const double d = (double) values[i] - decoded[i];
        error += d * d * (weights.empty() ? 1.0 : weights[i % cols]);
    }
    if (argc > 5 && strcmp(argv[5], "-") != 0) {
        FILE * file = fopen(argv[5], "wb");
        if (!file || fwrite(out.data(), 1, out.size(), file) != out.size()) return 1;
        fclose(file);
    }
    printf("{\"type\":\"%s\",\"values\":%zu,\"bytes\":%zu,\"seconds\":%.6f,\"error\":%.9e}\n",
           argv[1], values.size(), out.size(), seconds[seconds.size() / 2], error);
    return 0;
}
