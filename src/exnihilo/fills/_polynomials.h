/* Written by scripts/write_polynomials.py from polynomials.py; not to be edited. */
#define LN2 (0x1.62e4300000000p-1f)
#define ANGLE_STEP (0x1.921fb60000000p-30f)
#define FAR (0x1.8000000000000p+2f)
#define LOG_POLYNOMIAL(t) ((0x1.5555520000000p-2f) + (t) * ((-0x1.0000c80000000p-2f) + (t) * ((0x1.99a14c0000000p-3f) + (t) * ((-0x1.54d54e0000000p-3f) + (t) * ((0x1.22dc4c0000000p-3f) + (t) * ((-0x1.09abe40000000p-3f) + (t) * ((0x1.04591a0000000p-3f) + (t) * (-0x1.4bd6fe0000000p-4f))))))))
#define SIN_POLYNOMIAL(t) ((-0x1.5555520000000p-3f) + (t) * ((0x1.110c2a0000000p-7f) + (t) * (-0x1.9aca000000000p-13f)))
#define COS_POLYNOMIAL(t) ((0x1.5555540000000p-5f) + (t) * ((-0x1.6c12c40000000p-10f) + (t) * (0x1.9bd3880000000p-16f)))
#define CENTER_POLYNOMIAL(t) ((0x1.25e47c0000000p+1f) + (t) * ((0x1.5deb1a0000000p-2f) + (t) * ((-0x1.09efd20000000p-7f) + (t) * ((-0x1.3612880000000p-10f) + (t) * ((0x1.21fb580000000p-12f) + (t) * ((-0x1.2b814e0000000p-16f) + (t) * ((-0x1.6880dc0000000p-19f) + (t) * ((0x1.4a22980000000p-21f) + (t) * ((-0x1.55a4160000000p-28f) + (t) * (-0x1.cee0400000000p-28f))))))))))
#define TAIL_POLYNOMIAL(t) ((0x1.6a15520000000p+0f) + (t) * ((-0x1.93578c0000000p-6f) + (t) * ((-0x1.067db40000000p+1f) + (t) * ((0x1.5b569c0000000p+3f) + (t) * ((-0x1.9139fa0000000p+5f) + (t) * ((0x1.8104be0000000p+7f) + (t) * ((-0x1.0572e60000000p+9f) + (t) * ((0x1.cc39480000000p+9f) + (t) * ((-0x1.d406e40000000p+9f) + (t) * (0x1.9f316c0000000p+8f))))))))))
