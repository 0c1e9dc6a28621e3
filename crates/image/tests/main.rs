//! Behaviour tests of `orlop-image`.
