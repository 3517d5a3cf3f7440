# SPDX-License-Identifier: Apache-2.0
"""What all ops share: dispatch, registration, planning, image helpers, the allocator."""
