#include "cpu/dispatch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "anser/error.h"

namespace anser {
namespace {

// Puts the environment back as it was.
class Dispatch : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv("ANSER_ISA")) before_ = value;
    unsetenv("ANSER_ISA");
  }
  void TearDown() override {
    if (before_.empty()) {
      unsetenv("ANSER_ISA");
    } else {
      setenv("ANSER_ISA", before_.c_str(), 1);
    }
  }
  std::string before_;
};

TEST_F(Dispatch, TablesAreWholeAndBaselineIsLast) {
  const std::vector<const Kernels*> tables = supported_kernels();
  ASSERT_FALSE(tables.empty());
  EXPECT_STREQ(tables.back()->name, "baseline");
  const std::vector<std::string> built = built_kernels();
  for (const Kernels* table : tables) {
    EXPECT_NE(std::find(built.begin(), built.end(), table->name), built.end()) << table->name;
    for (int type = 0; type < kMatrixTypes; ++type) {
      EXPECT_NE(table->matmul[type], nullptr) << table->name << " " << dtype_name(DType(type));
      EXPECT_NE(table->widen[type], nullptr) << table->name << " " << dtype_name(DType(type));
    }
  }
}

TEST_F(Dispatch, TheBestUnlessToldOtherwise) {
  EXPECT_EQ(&choose_kernels(), supported_kernels().front());
  setenv("ANSER_ISA", "", 1);
  EXPECT_EQ(&choose_kernels(), supported_kernels().front());
  for (const Kernels* table : supported_kernels()) {
    setenv("ANSER_ISA", table->name, 1);
    EXPECT_EQ(&choose_kernels(), table);
  }
}

TEST_F(Dispatch, UnknownAndUnsupportedNamesAreExplained) {
  setenv("ANSER_ISA", "avx1024", 1);
  try {
    choose_kernels();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("ANSER_ISA=avx1024"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("baseline"), std::string::npos);
  }
  for (const std::string& name : built_kernels()) {
    const std::vector<const Kernels*> tables = supported_kernels();
    if (std::any_of(tables.begin(), tables.end(), [&](auto* t) { return t->name == name; })) {
      continue;
    }
    setenv("ANSER_ISA", name.c_str(), 1);
    EXPECT_THROW(choose_kernels(), Error) << name;
  }
}

}  // namespace
}  // namespace anser
