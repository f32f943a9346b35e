# ANSER_WITH_CUDA: whether the CUDA backend is built. ON builds it and is an error where the toolkit is
# missing; AUTO, the default, builds it where this machine has both the toolkit and a GPU, and for
# that GPU only: machine code for every generation takes half an hour of nvcc.
set(ANSER_WITH_CUDA OFF)
if(ANSER_CUDA STREQUAL "OFF" OR (ANSER_CUDA STREQUAL "AUTO" AND (ANSER_SANITIZE OR CMAKE_CROSSCOMPILING)))
  return()
endif()

# The driver makes the folder and a device file for each GPU; in WSL it is Windows' driver.
file(GLOB gpus_here /proc/driver/nvidia/gpus/* /dev/nvidia[0-9]* /usr/lib/wsl/lib/libcuda.so.1)
set(for_others "for other GPUs: -DANSER_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=\"80;90\"")
if(ANSER_CUDA STREQUAL "AUTO" AND NOT gpus_here)
  message(STATUS "without CUDA: this machine has no NVIDIA GPU; ${for_others}")
  return()
endif()

include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(ANSER_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(ANSER_NVCC)
    set(CMAKE_CUDA_COMPILER "${ANSER_NVCC}")
  endif()
endif()
# Which generations get machine code: those of this machine's GPUs, or, where ON was given on a machine
# without one, every generation from Turing to Blackwell (later ones translate the last).
if(NOT CMAKE_CUDA_ARCHITECTURES)
  if(gpus_here)
    set(CMAKE_CUDA_ARCHITECTURES native)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90-real 100-real 120)
  endif()
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
  message(STATUS "CUDA ${CUDAToolkit_VERSION}, for the architecture ${CMAKE_CUDA_ARCHITECTURES}; ${for_others}")
elseif(ANSER_CUDA STREQUAL "AUTO")
  message(STATUS "without CUDA: the toolkit (12 or newer, with nvcc and cuBLAS) was not found")
else()
  message(FATAL_ERROR "ANSER_CUDA=ON, but of the CUDA toolkit (12 or newer) there is nvcc: "
          "${CMAKE_CUDA_COMPILER}, libraries: ${CUDAToolkit_FOUND}, cublasLt.h: ${ANSER_CUBLASLT_INCLUDE}. "
          "Put nvcc on the PATH, or name it with -DCMAKE_CUDA_COMPILER=")
endif()
