//! The older services' APIs, as their clients use them. Tests have the numbers of the lists by which those services were known.

mod documents;
mod openvidu;
mod sessions;
