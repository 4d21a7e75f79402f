//! Compiles the protos without protoc, keeps the descriptors for reflection and for the tests that walk the API, and lists the
//! methods for src/rpc/adapter.rs.

use prost_types::{FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    // The page is embedded, and cargo does not notice a new file in it, such as another language.
    println!("cargo:rerun-if-changed=web");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("videosession/v1/video_session.proto")?;
    let out_dir = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    // The encoded set keeps the annotations of src/rest; the decoded one has no place for them.
    std::fs::write(
        out_dir.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    let descriptors = compiler.file_descriptor_set();
    unpack_api_page(&out_dir.join("swagger-ui"))?;
    let compressed = out_dir.join("web");
    // Of a file that is gone, an earlier build may have left its compressed forms.
    if compressed.exists() {
        std::fs::remove_dir_all(&compressed)?;
    }
    compress_page(std::path::Path::new("web"), &compressed)?;
    std::fs::write(out_dir.join("adapter.rs"), adapter(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// The files of Swagger UI that src/rest/page.rs serves.
const API_PAGE_FILES: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

fn unpack_api_page(to: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let packed = std::io::Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED);
    let mut archive = zip::ZipArchive::new(packed)?;
    std::fs::create_dir_all(to)?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        let name = file
            .name()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        if API_PAGE_FILES.contains(&name.as_str()) && file.name().contains("/dist/") {
            std::io::copy(&mut file, &mut std::fs::File::create(to.join(name))?)?;
        }
    }
    Ok(())
}

/// Compresses the page's files, all but the templates, in each way that src/web/encoding.rs serves.
fn compress_page(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    const WINDOW_BITS: i32 = 22;
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            compress_page(&path, &to.join(name))?;
            continue;
        }
        let Some(name) = name.to_str().filter(|name| !name.ends_with(".html")) else {
            continue;
        };
        let content = std::fs::read(&path)?;
        let parameters = brotli::enc::BrotliEncoderParams {
            quality: 11,
            lgwin: WINDOW_BITS,
            ..Default::default()
        };
        let mut brotli = std::fs::File::create(to.join(format!("{name}.br")))?;
        brotli::BrotliCompress(&mut content.as_slice(), &mut brotli, &parameters)?;
        let gzip = std::fs::File::create(to.join(format!("{name}.gz")))?;
        let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::best());
        std::io::Write::write_all(&mut gzip, &content)?;
        gzip.finish()?;
    }
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
