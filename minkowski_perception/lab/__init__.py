# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What makes and measures models; nothing that runs on a robot imports it."""
