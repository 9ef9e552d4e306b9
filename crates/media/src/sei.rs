//! sei
