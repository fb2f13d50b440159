//! The tonic peer of the benchmark, in three forms:
//!
//! - `plain`: generated code and default options, as most of its users write it; each answer is a message of its own
//! - `tuned`: wide windows, large write buffers, and entries shared instead of cloned (a codec over `Arc<LogEntry>`)
//! - `encoded`: the same options, and messages encoded beforehand behind a codec that passes bytes through
//!
//! It prints `version …`, then `listening HOST:PORT`, and serves until it is told to end.
mod files;
mod journal;
mod shared;
mod typed;

pub mod protocol {
    include!(concat!(env!("OUT_DIR"), "/protocol.rs"));
}

use std::{env, error::Error, fs, sync::Arc};

use bytes::Bytes;
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming};

use protocol::sluice::logs::v1::LogEntry;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(env::args().skip(1))?;
    let messages = read_frames(&options.entries)?;
    let journal = journal::open(options.data.as_deref())?;

    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    let address = listener.local_addr()?;
    eprintln!(
        "version tonic {}, prost {}",
        env!("TONIC_VERSION"),
        env!("PROST_VERSION")
    );
    eprintln!("listening {address}");

    // The builder's tcp_nodelay does not reach an incoming of our own.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let decode = || {
        messages
            .iter()
            .map(|message| LogEntry::decode(message.clone()))
            .collect::<Result<Vec<_>, _>>()
    };
    match options.form.as_str() {
        "plain" => {
            let logs = typed::Logs::new(decode()?, options.count, journal.clone());
            secured(Server::builder(), &options)?
                .add_service(typed::seed_server(logs.clone()))
                .add_service(typed::logs_server(logs))
                .add_service(typed::otlp_server(journal))
                .add_service(typed::echo_server())
                .add_service(files::server(options.files))
                .serve_with_incoming(incoming)
                .await?
        }
        "tuned" => {
            let entries = decode()?.into_iter().map(Arc::new).collect();
            let logs = typed::Logs::new(decode()?, options.count, journal.clone());
            secured(tuned(), &options)?
                .add_service(shared::Service::new(
                    shared::Codec::<Arc<LogEntry>>::for_streams(),
                    entries,
                    options.count,
                ))
                .add_service(typed::logs_server(logs))
                .add_service(typed::otlp_server(journal))
                .add_service(typed::echo_server())
                .serve_with_incoming(incoming)
                .await?
        }
        "encoded" => {
            secured(tuned(), &options)?
                .add_service(shared::Service::new(
                    shared::Codec::<Bytes>::for_streams(),
                    messages,
                    options.count,
                ))
                .add_service(shared::Echo)
                .serve_with_incoming(incoming)
                .await?
        }
        other => return Err(format!("unknown form {other:?}: plain, tuned or encoded").into()),
    }
    Ok(())
}

/// Windows so wide that the client never makes it wait.
fn tuned() -> Server {
    Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
}

/// With TLS when there is a certificate.
fn secured(server: Server, options: &Options) -> Result<Server, Box<dyn Error>> {
    let (Some(certificate), Some(key)) = (&options.certificate, &options.key) else {
        return Ok(server);
    };
    let identity = Identity::from_pem(fs::read(certificate)?, fs::read(key)?);
    Ok(server.tls_config(ServerTlsConfig::new().identity(identity))?)
}

struct Options {
    port: u16,
    entries: String,
    count: usize,
    data: Option<String>,
    files: String,
    form: String,
    certificate: Option<String>,
    key: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Options {
            port: 0,
            entries: String::new(),
            count: 1_000_000,
            data: None,
            files: String::new(),
            form: "plain".to_owned(),
            certificate: None,
            key: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--port" => options.port = value.parse()?,
                "--entries" => options.entries = value,
                "--count" => options.count = value.parse()?,
                "--data" => options.data = Some(value),
                "--files" => options.files = value,
                "--form" => options.form = value,
                "--certificate" => options.certificate = Some(value),
                "--key" => options.key = Some(value),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

/// The messages of a file of gRPC frames, without their prefixes.
fn read_frames(path: &str) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let mut file = Bytes::from(fs::read(path)?);
    let mut messages = Vec::new();
    while !file.is_empty() {
        let prefix = file.get(1..5).ok_or("a torn frame at the end of the file")?;
        let length = u32::from_be_bytes(prefix.try_into()?) as usize;
        if file.len() < 5 + length {
            return Err("a torn frame at the end of the file".into());
        }
        messages.push(file.split_to(5 + length).slice(5..));
    }
    if messages.is_empty() {
        Err(format!("{path} holds no frame").into())
    } else {
        Ok(messages)
    }
}
