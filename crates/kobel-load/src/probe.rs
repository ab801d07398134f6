//! Learns a Kobel's devices as a viewer does: from the dashboard's `initialData`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    LoadError,
    client::{Emit, Failure, Outgoing, Setup, Sink, Subscriptions, websocket::WebSocket},
    plan::Plan,
};

#[derive(Default)]
struct Devices(Option<Vec<String>>);

impl Sink for Devices {
    fn event(&mut self, json: &[u8]) {
        #[derive(Deserialize)]
        struct Initial {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            devices: Vec<Device>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Device {
            device_uuid: String,
        }
        if let Ok((name, initial)) = serde_json::from_slice::<(String, Initial)>(json)
            && name == "initialData"
        {
            let uuids = initial.data.devices.into_iter().map(|device| device.device_uuid);
            self.0 = Some(uuids.collect());
        }
    }
}

/// The devices' uuids. Blocks, at most as long as a connection may take.
pub(crate) fn devices(plan: &Plan) -> Result<Vec<String>, LoadError> {
    let patience = Duration::from_millis(plan.connect_timeout_ms);
    let devices = ask(plan.address, patience, plan)
        .map_err(|failure| LoadError::Devices(failure.to_string()))?;
    if devices.is_empty() { Err(LoadError::NoDevices) } else { Ok(devices) }
}

fn ask(address: SocketAddr, patience: Duration, plan: &Plan) -> Result<Vec<String>, Failure> {
    let io = |error: std::io::Error| Failure::Io(format!("tcp: {error}"));
    let json = r#"{"type":"dashboard"}"#.into();
    let setup = Setup {
        resource: plan.resource.clone(),
        headers: plan.headers.clone(),
        connect: plan.connect.clone(),
        subscriptions: Subscriptions {
            emits: vec![Emit { event: "subscribe".into(), json }],
            ..Subscriptions::default()
        },
    };
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(io)?;
    stream.set_read_timeout(Some(patience)).map_err(io)?;
    let (mut out, mut devices) = (Outgoing::new(1), Devices::default());
    let mut session = WebSocket::start(0, &setup, &mut out);
    let (mut held, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        stream.write_all(&out.bytes).map_err(io)?;
        out.bytes.clear();
        if let Some(devices) = devices.0 {
            return Ok(devices);
        }
        match stream.read(&mut chunk).map_err(io)? {
            0 => return Err(Failure::Ended),
            count => held.extend_from_slice(&chunk[..count]),
        }
        let used = session.receive(&held, &setup, &mut out, &mut devices)?;
        held.drain(..used);
    }
}
