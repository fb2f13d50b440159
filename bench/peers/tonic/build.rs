// Generates messages and services from the descriptors that `buf build` wrote (no protoc is needed).
use prost::Message;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=BENCH_DESCRIPTORS");
    let mut descriptors = prost_types::FileDescriptorSet::default();
    for path in env::var("BENCH_DESCRIPTORS")?.split(':') {
        println!("cargo:rerun-if-changed={path}");
        descriptors
            .file
            .extend(prost_types::FileDescriptorSet::decode(fs::read(path)?.as_slice())?.file);
    }
    tonic_prost_build::configure()
        .build_client(false)
        // What a peer does not serve answers UNIMPLEMENTED.
        .generate_default_stubs(true)
        .include_file("protocol.rs")
        .compile_fds(descriptors)?;
    println!("cargo:rustc-env=TONIC_VERSION={}", locked_version("tonic")?);
    println!("cargo:rustc-env=PROST_VERSION={}", locked_version("prost")?);
    Ok(())
}

fn locked_version(package: &str) -> Result<String, Box<dyn Error>> {
    let lock = fs::read_to_string("Cargo.lock")?;
    let (_, rest) = lock
        .split_once(&format!("name = \"{package}\"\nversion = \""))
        .ok_or_else(|| format!("{package} is not in Cargo.lock"))?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}
