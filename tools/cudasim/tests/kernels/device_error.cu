// Right for the simulator, wrong for the device: only the compile gate sees it.
#ifndef __CUDASIM__
extern "C" __global__ void broken(float* x) { x[0] = no_such_function(x[1]); }
#endif
