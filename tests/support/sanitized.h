// ANSER_SANITIZED: 1 where a sanitizer has the memory and the threads in its hands, else 0.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ANSER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ANSER_SANITIZED 1
#endif
#endif
#ifndef ANSER_SANITIZED
#define ANSER_SANITIZED 0
#endif
