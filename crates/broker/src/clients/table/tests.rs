// SPDX-License-Identifier: Apache-2.0
//! Tables of heartbeats, goodbyes and silences.
