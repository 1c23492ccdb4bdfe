//! Freshet back end.
