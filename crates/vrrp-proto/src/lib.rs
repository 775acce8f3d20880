//! VRRPv2 and VRRPv3 without I/O: codec, receiver checks, virtual router and engine.
