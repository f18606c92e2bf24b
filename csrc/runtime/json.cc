#include "json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace semihmm_runtime {
namespace {

class Parser {
  public:
    Parser(std::string_view text, const std::string& what) : text_(text), what_(what) {}

    Json document() {
        Json found = value(0);
        space();
        if (at_ != text_.size()) wrong("the end");
        return found;
    }

  private:
    static constexpr int kDeepest = 32;

    [[noreturn]] void wrong(const char* expected) const {
        bad_file(what_ + " must be JSON: expected " + expected + " at byte " + std::to_string(at_) + ".");
    }
    void space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
    }
    bool next_is(char c) {
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    Json value(int depth) {
        if (depth > kDeepest) wrong("less depth");
        space();
        if (at_ >= text_.size()) wrong("a value");
        switch (text_[at_]) {
            case '{': return object(depth);
            case '[': return list(depth);
            case '"': return Json(string());
            case 't': return word("true", Json(true));
            case 'f': return word("false", Json(false));
            case 'n': return word("null", Json());
            default: return number();
        }
    }
    Json word(std::string_view name, Json meaning) {
        if (text_.substr(at_, name.size()) != name) wrong("a value");
        at_ += name.size();
        return meaning;
    }
    Json list(int depth) {
        Json::List found;
        ++at_, space();
        if (next_is(']')) return Json(std::move(found));
        for (;;) {
            found.push_back(value(depth + 1));
            space();
            if (next_is(']')) return Json(std::move(found));
            if (!next_is(',')) wrong("',' or ']'");
        }
    }
    Json object(int depth) {
        Json::Object found;
        ++at_, space();
        if (next_is('}')) return Json(std::move(found));
        for (;;) {
            space();
            if (at_ >= text_.size() || text_[at_] != '"') wrong("a name");
            std::string name = string();
            space();
            if (!next_is(':')) wrong("':'");
            Json one = value(depth + 1);
            if (!found.emplace(std::move(name), std::move(one)).second) wrong("no name twice");
            space();
            if (next_is('}')) return Json(std::move(found));
            if (!next_is(',')) wrong("',' or '}'");
        }
    }
    Json number() {
        const std::size_t begin = at_;
        const auto digits = [&] {
            const std::size_t first = at_;
            while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
            if (at_ == first) wrong("a digit");
            return first;
        };
        next_is('-');
        const std::size_t first = digits();
        if (text_[first] == '0' && at_ - first > 1) wrong("no zero in front of a number");
        if (next_is('.')) digits();
        if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
            ++at_;
            if (!next_is('+')) next_is('-');
            digits();
        }
        double found = 0;
        const auto [end, error] = std::from_chars(text_.data() + begin, text_.data() + at_, found);
        if (error != std::errc() || end != text_.data() + at_ || !std::isfinite(found)) wrong("a number that a double holds");
        return Json(found);
    }
    unsigned hexadecimal() {
        if (text_.size() - at_ < 4) wrong("four hexadecimal digits");
        unsigned found = 0;
        const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, found, 16);
        if (error != std::errc() || end != text_.data() + at_ + 4) wrong("four hexadecimal digits");
        at_ += 4;
        return found;
    }
    static void put(unsigned code, std::string& to) {
        const auto tail = [&](int shift) { to += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
        if (code < 0x80) {
            to += static_cast<char>(code);
        } else if (code < 0x800) {
            to += static_cast<char>(0xc0 | code >> 6), tail(0);
        } else if (code < 0x10000) {
            to += static_cast<char>(0xe0 | code >> 12), tail(6), tail(0);
        } else {
            to += static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0);
        }
    }
    std::string string() {
        std::string found;
        ++at_;
        for (;;) {
            if (at_ >= text_.size()) wrong("the end of a string");
            const char c = text_[at_++];
            if (c == '"') return found;
            if (static_cast<unsigned char>(c) < 0x20) wrong("no control character in a string");
            if (c != '\\') {
                found += c;
                continue;
            }
            if (at_ >= text_.size()) wrong("the end of a string");
            constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
            const char escape = text_[at_++];
            if (const std::size_t which = names.find(escape); which != std::string_view::npos) {
                found += meanings[which];
            } else if (escape == 'u') {
                unsigned code = hexadecimal();
                if (code >= 0xdc00 && code < 0xe000) wrong("the first half of a pair");
                if (code >= 0xd800 && code < 0xdc00) {
                    if (!next_is('\\') || !next_is('u')) wrong("the second half of a pair");
                    const unsigned low = hexadecimal();
                    if (low < 0xdc00 || low > 0xdfff) wrong("the second half of a pair");
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                put(code, found);
            } else {
                wrong("an escape that JSON has");
            }
        }
    }

    std::string_view text_;
    const std::string& what_;
    std::size_t at_ = 0;
};

}  // namespace

Json Json::parse(std::string_view text, const std::string& what) { return Parser(text, what).document(); }

Members::Members(const Json& json, std::string where)
    : object_(json.object() ? *json.object() : (bad_file("the model file: " + where + " must be an object."), *json.object())),
      where_(where.empty() ? where : where + ".") {}

void Members::refuse(const std::string& name, const std::string& expected) const {
    bad_file("the model file: " + where_ + name + " must be " + expected + (has(name) ? "." : ", and is missing."));
}

const Json& Members::take(const std::string& name) {
    const auto found = object_.find(name);
    if (found == object_.end()) refuse(name, "given");
    taken_.push_back(name);
    return found->second;
}

namespace {

bool integral(const Json& json, int64_t least, int64_t most, int64_t& to) {
    const double* x = json.number();
    if (!x || std::floor(*x) != *x || std::abs(*x) > 0x1p53 || *x < static_cast<double>(least) || *x > static_cast<double>(most)) return false;
    to = static_cast<int64_t>(*x);
    return true;
}

std::string bounds(int64_t least, int64_t most) { return "from " + std::to_string(least) + " to " + std::to_string(most); }

}  // namespace

int64_t Members::integer(const std::string& name, int64_t least, int64_t most) {
    int64_t found = 0;
    if (!has(name) || !integral(take(name), least, most, found)) refuse(name, "a whole number " + bounds(least, most));
    return found;
}

double Members::number(const std::string& name) {
    const double* found = has(name) ? take(name).number() : nullptr;
    if (!found) refuse(name, "a number");
    return *found;
}

bool Members::boolean(const std::string& name) {
    const bool* found = has(name) ? take(name).boolean() : nullptr;
    if (!found) refuse(name, "true or false");
    return *found;
}

const std::string& Members::text(const std::string& name) {
    const std::string* found = has(name) ? take(name).text() : nullptr;
    if (!found) refuse(name, "a string");
    return *found;
}

std::vector<int64_t> Members::integers(const std::string& name, int64_t least, int64_t most) {
    const Json::List* given = has(name) ? take(name).list() : nullptr;
    std::vector<int64_t> found;
    const std::string expected = "a list of whole numbers " + bounds(least, most);
    if (!given) refuse(name, expected);
    for (const Json& one : *given)
        if (!integral(one, least, most, found.emplace_back())) refuse(name, expected);
    return found;
}

std::vector<std::string> Members::texts(const std::string& name) {
    const Json::List* given = has(name) ? take(name).list() : nullptr;
    std::vector<std::string> found;
    if (!given) refuse(name, "a list of strings");
    for (const Json& one : *given) {
        if (!one.text()) refuse(name, "a list of strings");
        found.push_back(*one.text());
    }
    return found;
}

Members Members::object(const std::string& name) {
    if (!has(name) || !take(name).object()) refuse(name, "an object");
    return {take(name), where_ + name};
}

void Members::finish() const {
    for (const auto& [name, value] : object_)
        if (std::find(taken_.begin(), taken_.end(), name) == taken_.end())
            bad_file("the model file: " + where_ + name + " is nothing that this version knows. Was it written by a later one?");
}

}  // namespace semihmm_runtime
