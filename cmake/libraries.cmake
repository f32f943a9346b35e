# ANSER_FMT, ANSER_XXHASH, ANSER_ZSTD, ANSER_SQLITE, ANSER_EDIT: what the programs link. With
# ANSER_PORTABLE they need glibc and nothing else (for a GPU its driver, and cuBLASLt, which is
# loaded when needed), so that they can be carried to a machine that has none of our packages.
# ANSER_HIREDIS is empty where there is no hiredis: states are then kept in folders only.
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(HIREDIS hiredis)
set(ANSER_FMT fmt::fmt)
set(ANSER_XXHASH PkgConfig::XXHASH)
set(ANSER_ZSTD PkgConfig::ZSTD)
set(ANSER_SQLITE PkgConfig::SQLITE)
set(ANSER_EDIT PkgConfig::EDIT)
set(ANSER_HIREDIS)
if(HIREDIS_FOUND)
  # The library alone: what pkg-config wants defined would be so in every file.
  set(ANSER_HIREDIS ${HIREDIS_LINK_LIBRARIES})
else()
  message(STATUS "no hiredis: built without --state-store redis://")
endif()
if(NOT ANSER_PORTABLE)
  return()
endif()

add_link_options(-static-libstdc++ -static-libgcc)
set(ANSER_FMT fmt::fmt-header-only)  # Debian has no libfmt.a
# libedit's archive does not say what it needs itself: terminal descriptions and BSD's functions.
foreach(library xxhash zstd sqlite3 edit tinfo bsd md)
  find_library(ANSER_STATIC_${library} lib${library}.a)
  if(NOT ANSER_STATIC_${library})
    message(FATAL_ERROR "ANSER_PORTABLE: lib${library}.a was not found; it comes with Debian's "
            "libxxhash-dev, libzstd-dev, libsqlite3-dev, libedit-dev, libncurses-dev, libbsd-dev and libmd-dev")
  endif()
endforeach()
set(ANSER_XXHASH "${ANSER_STATIC_xxhash}")
set(ANSER_ZSTD "${ANSER_STATIC_zstd}")
set(ANSER_SQLITE "${ANSER_STATIC_sqlite3}" m)
set(ANSER_EDIT "${ANSER_STATIC_edit}" "${ANSER_STATIC_tinfo}" "${ANSER_STATIC_bsd}" "${ANSER_STATIC_md}")
if(HIREDIS_FOUND)
  find_library(ANSER_STATIC_hiredis libhiredis.a REQUIRED)
  set(ANSER_HIREDIS "${ANSER_STATIC_hiredis}")
endif()
