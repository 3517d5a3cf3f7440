// SPDX-License-Identifier: Apache-2.0
// Included by the loops of an op, in a namespace of their own that defines Vector and STYLEGAN_TARGET.

#define STYLEGAN_INLINE STYLEGAN_TARGET STYLEGAN_ALWAYS_INLINE

STYLEGAN_INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
STYLEGAN_INLINE void store(float* p, const Vector& v) { *reinterpret_cast<Vector*>(p) = v; }

// u > limit ? a : b, lane by lane
STYLEGAN_INLINE Vector where_above(const Vector& u, const Vector& limit, const Vector& a, const Vector& b) {
#if STYLEGAN_PLAIN_VECTORS
  return Vector::of([&](int i) { return u.v[i] > limit.v[i] ? a.v[i] : b.v[i]; });
#else
  return u > limit ? a : b;
#endif
}
