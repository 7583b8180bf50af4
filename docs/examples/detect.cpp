// The words of a picture with an exported file, in OpenVINO: detect model.onnx street.ppm [SCORE_THRESHOLD]
//
// The picture is a binary PPM (P6, 8 bits) and is read at its own size: scale it to the short side first. Prints the
// four corners of each word in the picture's pixels, clockwise, and the score, as
// docs/examples/detect_onnx.py does.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

struct Picture {
    size_t height, width;
    std::vector<uint8_t> rgb;
};

struct Word {
    float x, y, width, height;  // of the centre and the sides, in pixels
    float cosine, sine;         // of the rotation; the sine is positive when the right end is higher
    float score;

    bool contains(const Word& other) const {  // the other one's centre
        float dx = other.x - x, dy = other.y - y;
        float along = dx * cosine - dy * sine, down = dx * sine + dy * cosine;
        return std::abs(along) <= width / 2 && std::abs(down) <= height / 2;
    }
};

Picture read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    Picture picture{};
    int most = 0;
    file >> kind >> picture.width >> picture.height >> most;
    file.get();
    if (!file || kind != "P6" || most != 255) throw std::runtime_error(path + ": expected a binary PPM of 8 bits");
    picture.rgb.resize(3 * picture.width * picture.height);
    if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
        throw std::runtime_error(path + ": the file is cut off");
    return picture;
}

// (1, 3, H, W) float32, normalised; padded with zeros at the right and at the bottom to multiples of 32
ov::Tensor normalised(const Picture& picture) {
    const float mean[] = {0.485f, 0.456f, 0.406f}, deviation[] = {0.229f, 0.224f, 0.225f};
    size_t height = (picture.height + 31) / 32 * 32, width = (picture.width + 31) / 32 * 32;
    ov::Tensor images(ov::element::f32, {1, 3, height, width});
    float* values = images.data<float>();
    std::fill_n(values, images.get_size(), 0.0f);
    for (size_t channel = 0; channel < 3; ++channel)
        for (size_t y = 0; y < picture.height; ++y)
            for (size_t x = 0; x < picture.width; ++x) {
                float value = picture.rgb[3 * (y * picture.width + x) + channel] / 255.0f;
                values[(channel * height + y) * width + x] = (value - mean[channel]) / deviation[channel];
            }
    return images;
}

// The word that each text cell predicts, the best score first
std::vector<Word> decode(ov::InferRequest& request, const Picture& picture, float threshold) {
    ov::Tensor logits = request.get_tensor("confidence"), sides = request.get_tensor("distances");
    const float *logit = logits.data<float>(), *side = sides.data<float>();
    const float* angle = request.get_tensor("angle").data<float>();
    size_t columns = logits.get_shape()[3], cells = logits.get_shape()[2] * columns;
    std::vector<Word> words;
    for (size_t cell = 0; cell < cells; ++cell) {
        size_t x = 4 * (cell % columns), y = 4 * (cell / columns);
        float score = 1 / (1 + std::exp(-logit[cell]));
        if (score < threshold || x >= picture.width || y >= picture.height) continue;
        float top = side[cell], right = side[cells + cell], bottom = side[2 * cells + cell], left = side[3 * cells + cell];
        float turn = angle[cell] - 0.785398163f, cosine = std::cos(turn), sine = std::sin(turn);
        float along = (right - left) / 2, down = (bottom - top) / 2;
        words.push_back({x + along * cosine + down * sine, y - along * sine + down * cosine, left + right,
                         top + bottom, cosine, sine, score});
    }
    std::sort(words.begin(), words.end(), [](const Word& a, const Word& b) { return a.score > b.score; });
    return words;
}

// A word is left out if its centre is inside a better one, or the other way round
std::vector<Word> suppress(const std::vector<Word>& words) {
    std::vector<Word> kept;
    for (const Word& word : words) {
        auto overlaps = [&](const Word& other) { return other.contains(word) || word.contains(other); };
        if (std::none_of(kept.begin(), kept.end(), overlaps)) kept.push_back(word);
    }
    return kept;
}

int main(int count, char** arguments) try {
    if (count < 3) throw std::runtime_error("usage: detect MODEL PICTURE.ppm [SCORE_THRESHOLD]");
    Picture picture = read_ppm(arguments[2]);
    ov::Core core;
    ov::AnyMap settings{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                        ov::hint::inference_precision(ov::element::f32)};
    ov::InferRequest request = core.compile_model(arguments[1], "CPU", settings).create_infer_request();
    request.set_input_tensor(normalised(picture));
    request.infer();
    for (const Word& word : suppress(decode(request, picture, count > 3 ? std::stof(arguments[3]) : 0.5f))) {
        const float corners[4][2] = {{-1, -1}, {1, -1}, {1, 1}, {-1, 1}};
        for (auto [right, down] : corners) {
            float along = right * word.width / 2, below = down * word.height / 2;
            std::printf("%.1f,%.1f,", word.x + along * word.cosine + below * word.sine,
                        word.y - along * word.sine + below * word.cosine);
        }
        std::printf("%.3f\n", word.score);
    }
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
}
