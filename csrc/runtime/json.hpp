// Strict JSON (RFC 8259), as much of it as model files hold: no duplicate keys, no numbers that no double holds, not too deep.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "error.hpp"

namespace semihmm_runtime {

class Json {
  public:
    using List = std::vector<Json>;
    using Object = std::map<std::string, Json, std::less<>>;

    // Throws an Error of a bad file. `what` is being read, for its message.
    static Json parse(std::string_view text, const std::string& what);

    Json() = default;
    explicit Json(bool x) : value_(x) {}
    explicit Json(double x) : value_(x) {}
    explicit Json(std::string x) : value_(std::move(x)) {}
    explicit Json(List x) : value_(std::move(x)) {}
    explicit Json(Object x) : value_(std::move(x)) {}

    bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
    const bool* boolean() const { return std::get_if<bool>(&value_); }
    const double* number() const { return std::get_if<double>(&value_); }
    const std::string* text() const { return std::get_if<std::string>(&value_); }
    const List* list() const { return std::get_if<List>(&value_); }
    const Object* object() const { return std::get_if<Object>(&value_); }

  private:
    std::variant<std::monostate, bool, double, std::string, List, Object> value_;
};

// An object whose members are taken by name; a type that is not the one asked for, a number out of bounds, a member that is
// missing or that nobody has taken is an Error that names it.
class Members {
  public:
    // `where` it stands: "transition.", or nothing for the outermost.
    Members(const Json& json, std::string where);

    bool has(std::string_view name) const { return object_.find(name) != object_.end(); }
    const Json& take(const std::string& name);
    int64_t integer(const std::string& name, int64_t least, int64_t most);
    double number(const std::string& name);
    bool boolean(const std::string& name);
    const std::string& text(const std::string& name);
    std::vector<int64_t> integers(const std::string& name, int64_t least, int64_t most);
    std::vector<std::string> texts(const std::string& name);
    Members object(const std::string& name);
    // Refuses what was not taken.
    void finish() const;

    const std::string& where() const { return where_; }
    [[noreturn]] void refuse(const std::string& name, const std::string& expected) const;

  private:
    const Json::Object& object_;
    std::string where_;
    std::vector<std::string> taken_;
};

}  // namespace semihmm_runtime
