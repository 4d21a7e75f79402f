//! Compiles the protos without protoc, keeps the descriptors for reflection and for the tests that walk the API, and lists the
//! methods for src/rpc/adapter.rs.

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

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

/// The invocations of the adapter's macro: one for each service, with a line for each method.
fn adapter(descriptors: &FileDescriptorSet) -> String {
    let services = descriptors.file.iter().flat_map(|file| &file.service);
    services.map(service).collect()
}

fn service(service: &ServiceDescriptorProto) -> String {
    let (streams, unary): (Vec<_>, Vec<_>) = service
        .method
        .iter()
        .partition(|method| method.server_streaming());
    let lines = |methods: &[&MethodDescriptorProto]| -> String {
        methods.iter().copied().map(line).collect()
    };
    format!(
        "adapt! {{ {} in {}_server; unary {{ {} }} streams {{ {} }} }}\n",
        service.name(),
        snake_case(service.name()),
        lines(&unary),
        lines(&streams)
    )
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn line(method: &MethodDescriptorProto) -> String {
    let message = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let (request, answer) = (message(method.input_type()), message(method.output_type()));
    let name = snake_case(method.name());
    if method.server_streaming() {
        format!("{name}({request}) -> {}Stream of {answer};", method.name())
    } else {
        format!("{name}({request}) -> {answer};")
    }
}
