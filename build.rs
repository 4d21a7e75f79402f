//! Compiles the protos without protoc, keeps the descriptors for reflection and for the tests that walk the API, and lists the
//! methods for src/rpc/adapter.rs.

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    // The page is embedded, and cargo does not notice a new file in it, such as another language.
    println!("cargo:rerun-if-changed=web");
    let descriptors = protox::compile(["videosession/v1/video_session.proto"], ["proto"])?;
    let out_dir = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    std::fs::write(out_dir.join("adapter.rs"), adapter(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// The invocation of the adapter's macro: a line for each method.
fn adapter(descriptors: &FileDescriptorSet) -> String {
    let services = descriptors.file.iter().flat_map(|file| &file.service);
    let methods = services.flat_map(|service| &service.method);
    let (streams, unary): (Vec<_>, Vec<_>) = methods.partition(|method| method.server_streaming());
    let lines = |methods: &[&MethodDescriptorProto]| -> String {
        methods.iter().copied().map(line).collect()
    };
    format!(
        "adapt! {{ unary {{ {} }} streams {{ {} }} }}",
        lines(&unary),
        lines(&streams)
    )
}

fn line(method: &MethodDescriptorProto) -> String {
    let message = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let (request, answer) = (message(method.input_type()), message(method.output_type()));
    let mut name = String::new();
    for letter in method.name().chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    if method.server_streaming() {
        format!("{name}({request}) -> {}Stream of {answer};", method.name())
    } else {
        format!("{name}({request}) -> {answer};")
    }
}
