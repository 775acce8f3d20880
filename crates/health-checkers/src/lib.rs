//! Is this real server usable? Check schedules without I/O and asynchronous probes.
