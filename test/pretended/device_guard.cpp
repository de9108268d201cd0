// Copyright 2026 The minkowski_perception authors
// SPDX-License-Identifier: Apache-2.0
// PyTorch for the CPU refuses tensors that say they are on CUDA, as it has no device guard for it.
// This registers one that does nothing; pretended_gpu.py compiles and loads it.
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {
c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> guard;
c10::impl::DeviceGuardImplRegistrar registrar(c10::DeviceType::CUDA, &guard);
}  // namespace
