//! The messages in the transport of the rust-netlink crates, which knows nothing of this one.

use futures_util::StreamExt;
use genetlink::GenetlinkHandle;
use ipvs_netlink::{
    Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
    message::{Change, Message, Query, Reply, Request},
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use vrrp_lab::{GuestTest, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![the_messages_work_in_the_genetlink_crate].to_vec()
}

/// The answers to a request, an acknowledgement not among them, and the kernel's error number.
async fn ask(handle: &mut GenetlinkHandle, request: impl Into<Request>) -> Result<Vec<Reply>, i32> {
    let request = request.into();
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(Message::from(request)));
    let kind = if request.is_dump() {
        NLM_F_DUMP
    } else {
        NLM_F_ACK
    };
    message.header.flags = NLM_F_REQUEST | kind;
    let mut answers = handle.request(message).await.unwrap();
    let mut replies = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer.unwrap().payload {
            NetlinkPayload::InnerMessage(message) => match message.payload {
                Message::Reply(reply) => replies.push(reply),
                Message::Request(request) => panic!("not an answer: {request}"),
            },
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(-error.raw_code()),
            _ => {}
        }
    }
    Ok(replies)
}

fn the_messages_work_in_the_genetlink_crate() {
    let key = ServiceKey::tcp(([192, 0, 2, 1], 80));
    let service = Service::new(key, Scheduler::WRR);
    let server = DestinationKey::new(([10, 0, 0, 1], 80));
    let destination = Destination::new(server, ForwardingMethod::Masquerade);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (connection, mut handle, _) = genetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let add = Change::AddDestination {
            service: key,
            destination,
        };
        assert_eq!(
            ask(&mut handle, Change::AddService(service)).await,
            Ok(vec![])
        );
        assert_eq!(ask(&mut handle, Change::AddService(service)).await, Err(17));
        assert_eq!(ask(&mut handle, add).await, Ok(vec![]));

        let mut client = Client::open().unwrap();
        let services = client.services().unwrap().into_iter().map(Reply::Service);
        assert_eq!(
            ask(&mut handle, Query::Services).await,
            Ok(services.collect())
        );
        let destinations = client.destinations(key).unwrap().into_iter();
        let destinations = destinations.map(Reply::Destination).collect();
        assert_eq!(
            ask(&mut handle, Query::Destinations(key)).await,
            Ok(destinations)
        );
        let info = Reply::Info(client.info().unwrap());
        assert_eq!(ask(&mut handle, Query::Info).await, Ok(vec![info]));
        assert_eq!(ask(&mut handle, Change::Flush).await, Ok(vec![]));
        assert_eq!(client.services().unwrap(), []);
    });
}
