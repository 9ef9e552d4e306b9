//! fmp4
