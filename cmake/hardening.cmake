# What makes an error in memory end the program instead of serving an attacker: stack protectors, checked
# copies and indices, addresses that are random and tables that cannot be written. Costs nothing that
# can be measured (docs/performance.md). The kernels (anser_isa) are left as they are: they get sizes that were checked,
# and no bytes of a client's.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckLinkerFlag)

option(ANSER_HARDEN "compile and link with protections against errors in memory" ON)

set(ANSER_HARDEN_COMPILE "")
set(ANSER_HARDEN_LINK "")
if(ANSER_HARDEN AND NOT ANSER_SANITIZE)
  foreach(flag -fstack-protector-strong -fstack-clash-protection)
    string(MAKE_C_IDENTIFIER "HAS_${flag}" has)
    check_cxx_compiler_flag(${flag} ${has})
    if(${has})
      list(APPEND ANSER_HARDEN_COMPILE ${flag})
    endif()
  endforeach()
  list(APPEND ANSER_HARDEN_COMPILE -D_GLIBCXX_ASSERTIONS)

  # The C library's checks need an optimising compiler, and warn where there is none, or where the level is too new.
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  if("${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}}" MATCHES "-O[1-9sz]|-Ofast")
    foreach(level 3 2)
      set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${level}")
      check_cxx_source_compiles("#include <cstdio>\n#include <cstring>\nint main() {}" HAS_FORTIFY_SOURCE_${level})
      unset(CMAKE_REQUIRED_FLAGS)
      if(HAS_FORTIFY_SOURCE_${level})
        list(APPEND ANSER_HARDEN_COMPILE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${level})
        break()
      endif()
    endforeach()
  endif()

  foreach(flag LINKER:-z,relro LINKER:-z,now)
    string(MAKE_C_IDENTIFIER "HAS_${flag}" has)
    check_linker_flag(CXX ${flag} ${has})
    if(${has})
      list(APPEND ANSER_HARDEN_LINK ${flag})
    endif()
  endforeach()
endif()

# Random addresses, where the compiler does not give them by itself as Debian's does. All that is linked must be
# compiled so; CUDA's own objects decide for themselves.
check_cxx_source_compiles("#if !defined(__PIE__) && !defined(__pie__)\n#error\n#endif\nint main() {}" HAS_PIE_BY_DEFAULT)
if(ANSER_HARDEN AND NOT ANSER_SANITIZE AND NOT HAS_PIE_BY_DEFAULT AND NOT ANSER_WITH_CUDA)
  add_compile_options(-fPIE)
  list(APPEND ANSER_HARDEN_LINK -pie)
endif()

function(anser_harden target)
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${ANSER_HARDEN_COMPILE}>")
  target_link_options(${target} PRIVATE ${ANSER_HARDEN_LINK})
endfunction()
