//! The parts of the manual that are made from something else.
