// Copyright 2026 The da3_ros authors
// SPDX-License-Identifier: Apache-2.0

// Ray caster for the arrays of da3_ros.simulation.scene. The formulas are those that the modules
// intersection, surface, texture and lighting of da3_ros.simulation state; what photos and meshes
// add is said in photos.py and mesh_bank.py. One source for two compilers: NVRTC, one thread a
// pixel, and a C++ compiler (-DHOST), for tests.

#ifdef HOST
#include <cmath>
#define FN static inline
#else
#define FN static __device__ __forceinline__
#endif

typedef unsigned int u32;
struct V3 { float x, y, z; };

#define PRIMITIVE_COLUMNS 16
#define MATERIAL_COLUMNS 13
#define LIGHT_COLUMNS 7
#define ENVIRONMENT_COLUMNS 36
#define VIEW_COLUMNS 20
#define MAX_CANDIDATES 512
#define TILE 16
#define NEAR_M 0.02f
#define SHADOW_OFFSET_M 0.002f
#define TINY 1e-20f
#define NO_HIT 3.0e38f
#define MESH 4
#define NODE_COLUMNS 8
#define PHOTO_SIZE 160
#define PHOTO_TEXELS 34126
#define PHOTO_LAST_LEVEL 6

FN V3 v3(float x, float y, float z) { V3 a = {x, y, z}; return a; }
FN V3 operator+(V3 a, V3 b) { return v3(a.x + b.x, a.y + b.y, a.z + b.z); }
FN V3 operator-(V3 a, V3 b) { return v3(a.x - b.x, a.y - b.y, a.z - b.z); }
FN V3 operator*(V3 a, V3 b) { return v3(a.x * b.x, a.y * b.y, a.z * b.z); }
FN V3 operator*(float s, V3 a) { return v3(s * a.x, s * a.y, s * a.z); }
FN float dot(V3 a, V3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
FN V3 cross(V3 a, V3 b) {
  return v3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}
FN V3 load(const float* p) { return v3(p[0], p[1], p[2]); }
FN V3 rotate(const float* m, V3 a) {
  return v3(dot(load(m), a), dot(load(m + 3), a), dot(load(m + 6), a));
}
FN V3 rotate_back(const float* m, V3 a) {
  return a.x * load(m) + a.y * load(m + 3) + a.z * load(m + 6);
}
FN float clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }
FN float sign(float x) { return x > 0.f ? 1.f : (x < 0.f ? -1.f : 0.f); }

// ---------------------------------------------------------------- intersection
struct Span { float entry, leave; };

FN Span slab(float o, float d, float h) {
  float inverse = 1.f / (d + TINY), middle = -o * inverse, reach = h * fabsf(inverse);
  Span s = {middle - reach, middle + reach};
  return s;
}
FN Span quadric(V3 a, V3 b) {
  float square = dot(b, b) + TINY, middle = -dot(a, b) / square;
  V3 q = a + middle * b;
  float reach = sqrtf(fmaxf(1.f - dot(q, q), 0.f) / square);
  Span s = {middle - reach, middle + reach};
  return s;
}
FN Span overlap(Span a, Span b) {
  Span s = {fmaxf(a.entry, b.entry), fminf(a.leave, b.leave)};
  return s;
}
FN float first_hit(int shape, V3 o, V3 d, V3 h) {
  if (shape == 3) {
    float t = -o.z / (d.z + TINY);
    bool inside = fabsf(o.x + t * d.x) <= h.x && fabsf(o.y + t * d.y) <= h.y;
    return inside ? t : NO_HIT;
  }
  Span s;
  if (shape == 1) {
    s = quadric(v3(o.x / h.x, o.y / h.y, o.z / h.z), v3(d.x / h.x, d.y / h.y, d.z / h.z));
  } else {
    s = slab(o.z, d.z, h.z);
    if (shape == 2) {
      s = overlap(s, quadric(v3(o.x / h.x, o.y / h.y, 0.f), v3(d.x / h.x, d.y / h.y, 0.f)));
    } else {
      s = overlap(overlap(s, slab(o.x, d.x, h.x)), slab(o.y, d.y, h.y));
    }
  }
  return s.entry < s.leave ? s.entry : NO_HIT;
}
// ---------------------------------------------------------------- meshes
struct Meshes { const float *nodes, *triangles; const int* roots; };
struct Touch { float t; int triangle; };

FN bool meets_box(const float* node, V3 o, V3 inverse, float limit) {
  float near = 0.f, far = limit;
  float a = (node[0] - o.x) * inverse.x, b = (node[3] - o.x) * inverse.x;
  near = fmaxf(near, fminf(a, b));
  far = fminf(far, fmaxf(a, b));
  a = (node[1] - o.y) * inverse.y;
  b = (node[4] - o.y) * inverse.y;
  near = fmaxf(near, fminf(a, b));
  far = fminf(far, fmaxf(a, b));
  a = (node[2] - o.z) * inverse.z;
  b = (node[5] - o.z) * inverse.z;
  near = fmaxf(near, fminf(a, b));
  far = fminf(far, fmaxf(a, b));
  return near <= far * 1.00001f + 1e-6f;
}
// Moeller and Trumbore (1997), both sides.
FN float meets_triangle(const float* c, V3 o, V3 d) {
  V3 a = load(c), u = load(c + 3) - a, v = load(c + 6) - a, p = cross(d, v);
  float determinant = dot(u, p);
  if (fabsf(determinant) < 1e-12f) return NO_HIT;
  V3 s = o - a, q = cross(s, u);
  float inverse = 1.f / determinant, x = dot(s, p) * inverse, y = dot(d, q) * inverse;
  if (x < -1e-5f || y < -1e-5f || x + y > 1.00001f) return NO_HIT;
  return dot(v, q) * inverse;
}
// The first touch behind `from` in a part's own box [-1, 1]^3; with `any`, whichever comes up.
FN Touch meets_mesh(const Meshes& m, int part, V3 o, V3 d, float from, float limit, bool any) {
  Touch touch = {limit, -1};
  V3 inverse = v3(1.f / (d.x + TINY), 1.f / (d.y + TINY), 1.f / (d.z + TINY));
  int node = m.roots[part], end = m.roots[part + 1];
  while (node < end) {
    const float* n = m.nodes + (long long)node * NODE_COLUMNS;
    if (!meets_box(n, o, inverse, touch.t)) {
      node = (int)n[6];
      continue;
    }
    int first = (int)n[7] >> 3, count = (int)n[7] & 7;
    for (int k = first; k < first + count; k++) {
      float t = meets_triangle(m.triangles + 9ll * k, o, d);
      if (t > from && t < touch.t) {
        touch.t = t;
        touch.triangle = k;
        if (any) return touch;
      }
    }
    node++;
  }
  return touch;
}

// Whether a ray misses the sphere around a primitive; cheap, and never wrong.
FN bool misses(const float* p, V3 o, V3 d, float dd) {
  V3 c = load(p + 1) - o, h = load(p + 4);
  float along = dot(c, d), radius2 = dot(h, h) * 1.001f, gap = dot(c, c) * dd - along * along;
  return gap > radius2 * dd || (along < 0.f && dot(c, c) > radius2);
}

// ---------------------------------------------------------------- texture
FN float hash(u32 i, u32 j, u32 seed, u32 salt) {
  u32 h = i * 0x8da6b343u ^ j * 0xd8163841u ^ (seed + salt) * 0xcb1ab31fu;
  h ^= h >> 15; h *= 0x2c1b3c6du;
  h ^= h >> 12; h *= 0x297a2d39u;
  h ^= h >> 15;
  return (float)(h >> 8) * 5.9604644775390625e-8f;
}
FN u32 cell(float x) { return (u32)(int)floorf(x); }
FN float fade(float w) { return clamp(1.6f - 2.f * w, 0.f, 1.f); }
FN float noise(float x, float y, u32 seed, u32 salt) {
  u32 i = cell(x), j = cell(y);
  float a = x - floorf(x), b = y - floorf(y);
  a = a * a * (3.f - 2.f * a);
  b = b * b * (3.f - 2.f * b);
  float near = hash(i, j, seed, salt), far = hash(i, j + 1u, seed, salt);
  near += a * (hash(i + 1u, j, seed, salt) - near);
  far += a * (hash(i + 1u, j + 1u, seed, salt) - far);
  return near + b * (far - near) - 0.5f;
}
FN float octave(float x, float y, float w, u32 seed, u32 k) {
  const float m = k == 0u ? 1.3f : (k == 1u ? 3.1f : (k == 2u ? 7.3f : 16.9f));
  float f = fade(w * m);
  return f > 0.f ? f * noise(x * m, y * m, seed, k) : 0.f;
}
FN float wave_integral(float x) {
  float f = floorf(x);
  return 0.5f * f + fminf(x - f, 0.5f);
}
FN float wave(float x, float w) {
  float box = fmaxf(w, 1e-3f);
  return (wave_integral(x + 0.5f * box) - wave_integral(x - 0.5f * box)) / box;
}
// A bank of photos, as photos.py lays it out: the levels of a photo one after another, a texel a
// word, bytes 255 * sqrt(linear).
struct Photos { const u32* words; int count; };

FN V3 texel(const u32* level, int side, int i, int j) {
  u32 t = level[j * side + i];
  float r = (float)(t & 255u), g = (float)((t >> 8) & 255u), b = (float)((t >> 16) & 255u);
  return v3(r * r, g * g, b * b);
}
FN int fold(int i, int side, bool mirrored) {
  int period = mirrored ? 2 * side : side, k = i % period;
  k = k < 0 ? k + period : k;
  return k < side ? k : 2 * side - 1 - k;
}
FN V3 photo_level(const u32* photo, int number, float x, float y, bool mirrored) {
  int side = PHOTO_SIZE, start = 0;
  for (int k = 0; k < number; k++) {
    start += side * side;
    side = side == 5 ? 1 : side / 2;
  }
  const u32* level = photo + start;
  float a = x * side - 0.5f, b = y * side - 0.5f, left = floorf(a), top = floorf(b);
  a -= left;
  b -= top;
  int i = fold((int)left, side, mirrored), k = fold((int)left + 1, side, mirrored);
  int j = fold((int)top, side, mirrored), l = fold((int)top + 1, side, mirrored);
  V3 near = texel(level, side, i, j), far = texel(level, side, i, l);
  near = near + a * (texel(level, side, k, j) - near);
  far = far + a * (texel(level, side, k, l) - far);
  return near + b * (far - near);
}
FN V3 photo_colour(const Photos& photos, const float* m, float u, float v, float footprint,
                   u32 face) {
  int number = -1 - (int)m[0];
  if (number >= photos.count) return load(m + 1);
  const u32* photo = photos.words + (long long)number * PHOTO_TEXELS;
  float x = (m[8] * u - m[9] * v) * m[7] + m[4];
  float y = m[5] - (m[9] * u + m[8] * v) * m[7] / m[6];
  bool mirrored = m[10] < 0.f;
  u32 seed = (u32)fabsf(m[10]);
  if (seed > 0u) {
    x += 2.f * hash(face, 1u, seed, 21u);
    y += 2.f * hash(face, 2u, seed, 21u);
  }
  // The footprint is that along the slope: a little less is sharper and does not flicker yet.
  float w = 0.7f * footprint * m[7] * PHOTO_SIZE;
  float level = clamp(log2f(fmaxf(w, 1.f)), 0.f, (float)PHOTO_LAST_LEVEL);
  int fine = (int)level;
  float share = level - fine;
  V3 colour = photo_level(photo, fine, x, y, mirrored);
  if (share > 0.f)
    colour = colour + share * (photo_level(photo, fine + 1, x, y, mirrored) - colour);
  V3 mean = texel(photo + PHOTO_TEXELS - 1, 1, 0, 0);
  colour = mean + m[11] * (colour - mean);
  const float scale = 1.f / 65025.f;
  return v3(fmaxf(colour.x, 0.f) * scale * m[1], fmaxf(colour.y, 0.f) * scale * m[2],
            fmaxf(colour.z, 0.f) * scale * m[3]);
}
FN V3 texture_colour(const Photos& photos, const float* m, float u, float v, float footprint,
                     u32 face) {
  if (m[0] < 0.f) return photo_colour(photos, m, u, v, footprint, face);
  float x = (m[8] * u - m[9] * v) * m[7] + 37.3f, y = (m[9] * u + m[8] * v) * m[7] + 11.7f;
  float w = footprint * m[7], share = 0.f;
  u32 s = (u32)m[10] + 7919u * face;
  float o1 = octave(x, y, w, s, 1u), o2 = octave(x, y, w, s, 2u), o3 = octave(x, y, w, s, 3u);
  V3 a = load(m + 1);
  int kind = (int)m[0];
  if (kind == 0) {
    share = clamp(0.5f + 1.8f * (octave(x, y, w, s, 0u) + 0.6f * o1 + 0.4f * o2), 0.f, 1.f);
  } else if (kind == 1) {
    share = 0.5f + 2.f * (wave(x, w) - 0.5f) * (wave(y, w) - 0.5f);
  } else if (kind == 2) {
    share = wave(x, w);
  } else if (kind == 3) {
    float by = 2.4f * y, row = floorf(by);
    float bx = x + 0.5f * (row - 2.f * floorf(0.5f * row)), column = floorf(bx);
    float p = bx - column, q = by - row;
    float edge = fminf(fminf(p, 1.f - p), fminf(q, 1.f - q) / 2.4f);
    float joint = clamp((0.04f - edge) / fmaxf(w, 0.02f) + 0.5f, 0.f, 1.f);
    share = 0.25f + fade(w) * (joint - 0.25f);
    a = (1.f + (hash(cell(bx), cell(by), s, 11u) - 0.5f) * fade(0.5f * w)) * a;
  } else if (kind == 4) {
    u32 i = cell(x), j = cell(y);
    float dx = x - floorf(x) - 0.3f - 0.4f * hash(i, j, s, 11u);
    float dy = y - floorf(y) - 0.3f - 0.4f * hash(i, j, s, 12u);
    float radius = 0.12f + 0.16f * hash(i, j, s, 13u);
    float inside = (radius - sqrtf(dx * dx + dy * dy)) / fmaxf(w, 0.02f) + 0.5f;
    share = 0.13f + fade(w) * (clamp(inside, 0.f, 1.f) - 0.13f);
  } else {
    u32 i = cell(x), j = cell(y);
    float g = fade(0.5f * w);
    V3 grey = v3(0.5f, 0.5f, 0.5f);
    V3 own = v3(hash(i, j, s, 11u), hash(i, j, s, 12u), hash(i, j, s, 13u));
    share = 0.14f + g * ((hash(i, j, s, 14u) < 0.4f ? 0.35f : 0.f) - 0.14f);
    a = grey + g * (own - grey);
  }
  V3 mixed = a + share * (load(m + 4) - a);
  return fmaxf(1.f + 1.6f * m[11] * (0.6f * o1 + 0.8f * o2 + 0.7f * o3), 0.f) * mixed;
}

// ---------------------------------------------------------------- surface
struct Surface { float u, v; u32 face; V3 normal; };  // normal in the local frame

FN Surface describe(int shape, V3 h, V3 p, V3 origin) {
  Surface s = {p.x, p.y, 0u, v3(0.f, 0.f, sign(origin.z))};
  V3 q = v3(p.x / h.x, p.y / h.y, p.z / h.z);
  if (shape == 0) {
    float x = fabsf(q.x), y = fabsf(q.y), z = fabsf(q.z);
    int axis = x >= y && x >= z ? 0 : (y >= z ? 1 : 2);
    float along = axis == 0 ? p.x : (axis == 1 ? p.y : p.z);
    s.u = axis == 0 ? p.y : p.x;
    s.v = axis == 2 ? p.y : p.z;
    s.face = 2u * axis + (along > 0.f ? 1u : 0u);
    s.normal = v3(axis == 0 ? sign(along) : 0.f, axis == 1 ? sign(along) : 0.f,
                  axis == 2 ? sign(along) : 0.f);
  } else if (shape != 3) {
    V3 n = v3(q.x / h.x, q.y / h.y, q.z / h.z);
    bool cap = shape == 2 && fabsf(q.z) > sqrtf(q.x * q.x + q.y * q.y);
    if (shape == 2) n = cap ? v3(0.f, 0.f, sign(q.z)) : v3(n.x, n.y, 0.f);
    s.normal = (1.f / sqrtf(dot(n, n))) * n;
    if (cap) {
      s.face = 1u + (p.z > 0.f ? 1u : 0u);
    } else {
      s.u = h.x * atan2f(q.y, q.x);
      s.v = shape == 1 ? h.z * asinf(clamp(q.z, -1.f, 1.f)) : p.z;
    }
  }
  return s;
}

// A triangle: laid out like the face of a box that looks most nearly the same way.
FN Surface describe_triangle(const float* c, V3 h, V3 p, V3 origin) {
  V3 a = load(c), n = cross(load(c + 3) - a, load(c + 6) - a);
  n = v3(n.x / h.x, n.y / h.y, n.z / h.z);
  n = (1.f / sqrtf(dot(n, n) + TINY)) * n;
  if (dot(n, p - origin) > 0.f) n = -1.f * n;
  float x = fabsf(n.x), y = fabsf(n.y), z = fabsf(n.z);
  int axis = x >= y && x >= z ? 0 : (y >= z ? 1 : 2);
  float along = axis == 0 ? n.x : (axis == 1 ? n.y : n.z);
  Surface s = {axis == 0 ? p.y : p.x, axis == 2 ? p.y : p.z, 2u * axis + (along > 0.f ? 1u : 0u),
               n};
  return s;
}

// ---------------------------------------------------------------- scene
struct Scene {
  const float *primitives, *materials, *lights, *environment;
  int num_primitives, num_lights;
  Photos photos;
  Meshes meshes;
};

FN V3 divided(V3 a, V3 b) { return v3(a.x / b.x, a.y / b.y, a.z / b.z); }
FN V3 local_point(const float* p, V3 x) { return rotate_back(p + 7, x - load(p + 1)); }

FN bool in_shadow(const Scene& scene, const float* light, V3 x) {
  bool sun = light[0] > 0.5f;
  V3 to = sun ? load(light + 1) : load(light + 1) - x;
  float square = dot(to, to);
  for (int i = 0; i < scene.num_primitives; i++) {
    const float* p = scene.primitives + i * PRIMITIVE_COLUMNS;
    int shape = (int)p[0];
    if (shape < 0 || shape == 3 || misses(p, x, to, square)) continue;
    V3 o = local_point(p, x), d = rotate_back(p + 7, to), h = load(p + 4);
    float limit = sun ? NO_HIT : 1.f;
    if (shape >= MESH) {
      if (meets_mesh(scene.meshes, shape - MESH, divided(o, h), divided(d, h), 0.f, limit,
                     true).triangle >= 0)
        return true;
      continue;
    }
    float t = first_hit(shape, o, d, h);
    if (t > 0.f && t < limit) return true;
  }
  return false;
}

// What falls on a surface from all around: columns 9-35, see panoramas.py.
FN V3 surrounding_light(const float* k, V3 n) {
  if (k[0] == 0.f) return v3(0.f, 0.f, 0.f);
  const float a = 1.7320508f, b = 3.8729833f;
  V3 sum = load(k) + (a * n.x) * load(k + 3) + (a * n.y) * load(k + 6) + (a * n.z) * load(k + 9) +
           (b * n.x * n.y) * load(k + 12) + (b * n.y * n.z) * load(k + 15) +
           (1.1180340f * (3.f * n.z * n.z - 1.f)) * load(k + 18) + (b * n.x * n.z) * load(k + 21) +
           (0.5f * b * (n.x * n.x - n.y * n.y)) * load(k + 24);
  return v3(fmaxf(sum.x, 0.f), fmaxf(sum.y, 0.f), fmaxf(sum.z, 0.f));
}
FN V3 illuminate(const Scene& scene, V3 x, V3 n, V3 c, V3 albedo, float gloss) {
  V3 diffuse = (0.8f + 0.2f * n.z) * load(scene.environment), shine = v3(0.f, 0.f, 0.f);
  diffuse = diffuse + surrounding_light(scene.environment + 9, n);
  for (int l = 0; l < scene.num_lights; l++) {
    const float* light = scene.lights + l * LIGHT_COLUMNS;
    V3 colour = load(light + 4);
    if (colour.x + colour.y + colour.z <= 0.f) continue;
    bool sun = light[0] > 0.5f;
    V3 to = sun ? load(light + 1) : load(light + 1) - x;
    float square = dot(to, to), strength = sun ? 1.f : 1.f / (1.f + 0.05f * square);
    V3 e = (1.f / sqrtf(square)) * to;
    float lambert = fmaxf(dot(n, e), 0.f);
    if (lambert <= 0.f || in_shadow(scene, light, x + SHADOW_OFFSET_M * n)) continue;
    diffuse = diffuse + (strength * lambert) * colour;
    if (gloss > 0.f) {
      V3 half = e + c;
      float k = fmaxf(dot(n, half) / (sqrtf(dot(half, half)) + 1e-6f), 0.f);
      k *= k; k *= k; k *= k; k *= k; k *= k;
      shine = shine + (strength * gloss * k) * colour;
    }
  }
  return albedo * diffuse + shine;
}

// ---------------------------------------------------------------- pixels
struct Hit { float t; int index, triangle; };

FN Hit cast(const Scene& scene, V3 o, V3 d, const int* candidates, int num_candidates) {
  Hit hit = {NO_HIT, -1, -1};
  float square = dot(d, d);
  for (int k = 0; k < num_candidates; k++) {
    int i = candidates[k];
    const float* p = scene.primitives + i * PRIMITIVE_COLUMNS;
    if (misses(p, o, d, square)) continue;
    V3 start = local_point(p, o), along = rotate_back(p + 7, d), h = load(p + 4);
    if ((int)p[0] >= MESH) {
      Touch touch = meets_mesh(scene.meshes, (int)p[0] - MESH, divided(start, h),
                               divided(along, h), NEAR_M, hit.t, false);
      if (touch.triangle >= 0) {
        hit.t = touch.t;
        hit.index = i;
        hit.triangle = touch.triangle;
      }
      continue;
    }
    float t = first_hit((int)p[0], start, along, h);
    // Candidates come in any order: the first of equally near primitives wins, as in numpy.
    if (t > NEAR_M && (t < hit.t || (t == hit.t && i < hit.index))) {
      hit.t = t;
      hit.index = i;
    }
  }
  return hit;
}

FN V3 shade(const Scene& scene, V3 o, V3 d, Hit hit, float pixel) {
  float length = sqrtf(dot(d, d));
  V3 unit = (1.f / length) * d;
  if (hit.index < 0) {
    V3 horizon = load(scene.environment + 3);
    float height = sqrtf(fmaxf(unit.z, 0.f));
    return horizon + height * (load(scene.environment + 6) - horizon);
  }
  const float* p = scene.primitives + hit.index * PRIMITIVE_COLUMNS;
  const float* m = scene.materials + hit.index * MATERIAL_COLUMNS;
  V3 x = o + hit.t * d, origin = local_point(p, o);
  V3 point = origin + hit.t * rotate_back(p + 7, d), h = load(p + 4);
  Surface s = (int)p[0] < MESH ? describe((int)p[0], h, point, origin) : describe_triangle(
      scene.meshes.triangles + 9ll * hit.triangle, h, point, origin);
  V3 n = rotate(p + 7, s.normal);
  float footprint = hit.t * length / fmaxf(fabsf(dot(n, unit)), 0.15f) * pixel;
  V3 albedo = texture_colour(scene.photos, m, s.u, s.v, footprint, s.face);
  return illuminate(scene, x, n, -1.f * unit, albedo, m[12]);
}

// A view: 0-8 world_R_camera, 9-11 position, 12 focal length [px], 13-15 rotation vector (camera
// frame) and 16-18 translation (world) during the exposure, 19 distortion: how much farther than a
// pinhole's a ray at the distance 1 from the axis is. Depth is that of the exposure's middle.
FN V3 pixel_ray(const float* view, float x, float y) {
  float stretch = 1.f + view[19] * (x * x + y * y);
  return v3(x * stretch, y * stretch, 1.f);
}
FN void render_pixel(const Scene& scene, const float* view, int width, int height, int samples,
                     int column, int row, const int* candidates, int num_candidates,
                     float* radiance, float* depth) {
  float focal = view[12];
  float px = column - 0.5f * (width - 1), py = row - 0.5f * (height - 1);
  V3 position = load(view + 9), sum = v3(0.f, 0.f, 0.f);
  V3 middle = rotate(view, pixel_ray(view, px / focal, py / focal));
  Hit seen = cast(scene, position, middle, candidates, num_candidates);
  if (samples == 1) {
    sum = shade(scene, position, middle, seen, 1.f / focal);
  } else {
    int count = samples * samples;
    for (int k = 0; k < count; k++) {
      float time = (k + 0.5f) / count - 0.5f;
      V3 ray = pixel_ray(view, (px + (k % samples + 0.5f) / samples - 0.5f) / focal,
                         (py + (k / samples + 0.5f) / samples - 0.5f) / focal);
      ray = ray + time * cross(load(view + 13), ray);
      V3 d = rotate(view, ray), o = position + time * load(view + 16);
      Hit hit = cast(scene, o, d, candidates, num_candidates);
      sum = sum + shade(scene, o, d, hit, 1.f / (focal * samples));
    }
    sum = (1.f / count) * sum;
  }
  int place = row * width + column, plane = width * height;
  radiance[place] = sum.x;
  radiance[plane + place] = sum.y;
  radiance[2 * plane + place] = sum.z;
  depth[place] = seen.index < 0 ? NO_HIT * NO_HIT : seen.t;
}

// Whether a primitive may be seen in a tile of pixels: bounding sphere against the tile's cone.
FN bool in_tile(const float* p, const float* view, int width, int height, int left, int top) {
  if (p[0] < 0.f) return false;
  float focal = view[12], size = TILE - 1.f;
  V3 axis = v3((left + 0.5f * size - 0.5f * (width - 1)) / focal,
               (top + 0.5f * size - 0.5f * (height - 1)) / focal, 1.f);
  float blur = sqrtf(dot(load(view + 13), load(view + 13)));
  float corner2 = 0.25f * (width * width + height * height) / (focal * focal);
  float bent = fabsf(view[19]) * corner2 * sqrtf(corner2);
  float spread = 0.7072f * (size + 2.f) / focal + blur + bent;
  V3 c = rotate_back(view, load(p + 1) - load(view + 9)), h = load(p + 4);
  float radius = sqrtf(dot(h, h)) + sqrtf(dot(load(view + 16), load(view + 16)));
  float distance = sqrtf(dot(c, c));
  if (distance <= radius) return true;
  float cosine = dot(axis, c) / (sqrtf(dot(axis, axis)) * distance);
  return acosf(clamp(cosine, -1.f, 1.f)) <= asinf(radius / distance) + atanf(spread) + 0.01f;
}

FN Scene scene_of(const float* primitives, const float* materials, const float* lights,
                  const float* environments, int num_primitives, int num_lights, int scene,
                  Photos photos, Meshes meshes) {
  Scene s = {primitives + (long long)scene * num_primitives * PRIMITIVE_COLUMNS,
             materials + (long long)scene * num_primitives * MATERIAL_COLUMNS,
             lights + (long long)scene * num_lights * LIGHT_COLUMNS,
             environments + (long long)scene * ENVIRONMENT_COLUMNS, num_primitives, num_lights,
             photos, meshes};
  return s;
}

#define ARGUMENTS                                                                            \
  const float *primitives, const float *materials, const float *lights,                      \
      const float *environments, const float *views, const int *scene_of_view,               \
      const u32 *words, const float *nodes, const float *triangles, const int *roots,        \
      float *radiance, float *depth, int num_primitives, int num_lights, int width, int height, \
      int samples, int num_photos

#ifdef HOST
extern "C" void render(ARGUMENTS, int num_views) {
  int candidates[MAX_CANDIDATES];
  for (int v = 0; v < num_views; v++) {
    const float* view = views + v * VIEW_COLUMNS;
    Scene scene = scene_of(primitives, materials, lights, environments, num_primitives,
                           num_lights, scene_of_view[v], {words, num_photos},
                           {nodes, triangles, roots});
    for (int top = 0; top < height; top += TILE) for (int left = 0; left < width; left += TILE) {
      int count = 0;
      for (int i = 0; i < num_primitives; i++) {
        const float* p = scene.primitives + i * PRIMITIVE_COLUMNS;
        if (in_tile(p, view, width, height, left, top)) candidates[count++] = i;
      }
      for (int k = 0; k < TILE * TILE; k++) {
        int column = left + k % TILE, row = top + k / TILE;
        if (column < width && row < height)
          render_pixel(scene, view, width, height, samples, column, row, candidates, count,
                       radiance + (long long)v * 3 * width * height,
                       depth + (long long)v * width * height);
      }
    }
  }
}
#else
extern "C" __global__ void __launch_bounds__(TILE * TILE) render(ARGUMENTS) {
  __shared__ int candidates[MAX_CANDIDATES];
  __shared__ int count;
  int v = blockIdx.z, left = blockIdx.x * TILE, top = blockIdx.y * TILE;
  const float* view = views + v * VIEW_COLUMNS;
  Scene scene = scene_of(primitives, materials, lights, environments, num_primitives, num_lights,
                         scene_of_view[v], {words, num_photos}, {nodes, triangles, roots});
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < num_primitives; i += TILE * TILE) {
    const float* p = scene.primitives + i * PRIMITIVE_COLUMNS;
    if (in_tile(p, view, width, height, left, top)) candidates[atomicAdd(&count, 1)] = i;
  }
  __syncthreads();
  int column = left + threadIdx.x % TILE, row = top + threadIdx.x / TILE;
  if (column < width && row < height)
    render_pixel(scene, view, width, height, samples, column, row, candidates, count,
                 radiance + (long long)v * 3 * width * height,
                 depth + (long long)v * width * height);
}
#endif
