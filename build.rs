//! Compiles the protos without protoc, and keeps the descriptors for reflection and for the tests that walk the API.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    // The page is embedded, and a file that is new in it, such as another language, is seen by nobody else.
    println!("cargo:rerun-if-changed=web");
    let descriptors = protox::compile(["videosession/v1/video_session.proto"], ["proto"])?;
    let out_dir = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
