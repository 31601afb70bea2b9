// Decodes blocks with ggml's reference: golden_blocks TYPE VALUES < blocks > float32.
// Built and run by golden_blocks.py.
#include <stdio.h>
#include <stdlib.h>

#include "ggml.h"

int main(int argc, char ** argv) {
    if (argc != 3) {
        return 2;
    }
    const enum ggml_type type = (enum ggml_type) atoi(argv[1]);
    const int64_t values = atoll(argv[2]);
    // Fills ggml's table for F16.
    ggml_free(ggml_init((struct ggml_init_params){.mem_size = 1 << 20}));
    const size_t bytes = ggml_row_size(type, values);
    void * in = malloc(bytes);
    float * out = malloc(sizeof(float) * values);
    if (!in || !out || fread(in, 1, bytes, stdin) != bytes) {
        return 1;
    }
    ggml_get_type_traits(type)->to_float(in, out, values);
    return fwrite(out, sizeof(float), values, stdout) == (size_t) values ? 0 : 1;
}
