# ANSER_WITH_CUDA: whether the CUDA backend is built. What is missing is an error only where it was
# asked for.
set(ANSER_WITH_CUDA OFF)
if(ANSER_CUDA STREQUAL "OFF" OR (ANSER_CUDA STREQUAL "AUTO" AND (ANSER_SANITIZE OR CMAKE_CROSSCOMPILING)))
  return()
endif()

include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(ANSER_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(ANSER_NVCC)
    set(CMAKE_CUDA_COMPILER "${ANSER_NVCC}")
  endif()
endif()
# Machine code for every generation from Turing to Blackwell; later ones translate the last.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90-real 100-real 120)
endif()
check_language(CUDA)
find_package(CUDAToolkit 12 QUIET)
find_path(ANSER_CUBLASLT_INCLUDE cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND AND ANSER_CUBLASLT_INCLUDE)
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  # CMake 3.25 does not know this compiler's flag.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  endif()
  add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--extended-lambda;--threads=2>")
  set(ANSER_WITH_CUDA ON)
  message(STATUS "CUDA ${CUDAToolkit_VERSION}, for ${CMAKE_CUDA_ARCHITECTURES}")
elseif(ANSER_CUDA STREQUAL "AUTO")
  message(STATUS "without CUDA: the toolkit (12 or newer, with nvcc and cuBLAS) was not found")
else()
  message(FATAL_ERROR "ANSER_CUDA=ON, but of the CUDA toolkit (12 or newer) there is nvcc: "
          "${CMAKE_CUDA_COMPILER}, libraries: ${CUDAToolkit_FOUND}, cublasLt.h: ${ANSER_CUBLASLT_INCLUDE}. "
          "Put nvcc on the PATH, or name it with -DCMAKE_CUDA_COMPILER=")
endif()
