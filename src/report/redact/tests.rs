//! What is found, what is left alone, and that a pseudonym is the same for the same thing.

use super::*;
use serde_json::json;

fn redactor() -> Redactor {
    Redactor::new(b"a key for tests")
}

/// A text, redacted by itself, with every pseudonym's digits written `#`.
fn shape(text: &str) -> String {
    of_node(json!({ "text": text }))["text"].as_str().unwrap().to_string()
}

/// A document of a node with a usual name.
fn of_node(mut document: Json) -> Json {
    let mut redactor = redactor();
    redactor.learn(&json!({ "host": { "value": { "name": "gpu042.cluster.acme.com", "short_name": "gpu042" } } }));
    redactor.redact(&mut document);
    let text = document.to_string();
    let digits =
        regex::Regex::new(r"(host|domain|cluster|ip|mac|serial|uuid|guid|user|path|secret)-[0-9a-f]{8,}").unwrap();
    serde_json::from_str(&digits.replace_all(&text, "$1-#")).unwrap()
}

#[test]
fn what_gives_a_site_away_is_replaced_and_keeps_its_kind() {
    for (text, expected) in [
        // Hosts: the node itself in every spelling, its siblings, and whatever the words around it tell.
        ("GPU042 and gpu042.cluster.acme.com", "host-# and host-#.domain-#"),
        ("Nov 20 08:15:00 login3 kernel: x", "Nov 20 08:15:00 host-# kernel: x"),
        ("2026-11-20T08:15:00.123+01:00 login3 sshd[12]: x", "2026-11-20T08:15:00.123+01:00 host-# sshd[12]: x"),
        ("gpu043 gpu[001-128] gpu5 gpus[3]", "host-# host-# gpu5 gpus[3]"),
        ("served by nfs1:/export", "served by host-#:/export"),
        ("nfs: server filer not responding, still trying", "nfs: server host-# not responding, still trying"),
        ("lustre mds1@tcp:10.1.0.2@o2ib:/fs", "lustre host-#@tcp:ip-#@o2ib:/fs"),
        ("ldaps://ldap7.cluster.acme.com:636/x", "ldaps://host-#.domain-#:636/x"),
        ("mail from x@uni.de", "mail from user-#@domain-#"),
        (
            "NodeName=gpu[001-128] SlurmctldHost=ctl ClusterName=rhea",
            "NodeName=host-# SlurmctldHost=host-# ClusterName=cluster-#",
        ),
        ("ip-10-31-0-3.ec2.internal", "host-#.domain-#"),
        ("db1.internal", "host-#.internal"),
        ("\\ngpu042: x", "\\nhost-#: x"),
        ("\u{1b}[31mgpu042\u{1b}[0m", "\u{1b}[31mhost-#\u{1b}[0m"),
        // Addresses.
        ("10.1.2.3:22, 8.8.8.8 and 192.168.0.1/24", "ip-#:22, ip-# and ip-#/24"),
        ("10.0.0.1-10.0.0.9", "ip-#-ip-#"),
        ("fe80::1ff:fe23:4567:890a%eth0 2001:DB8::1 [2001:db8:0:0:0:0:0:1]:443", "ip-#%eth0 ip-# [ip-#]:443"),
        ("::ffff:10.1.2.3", "::ffff:ip-#"),
        ("3c:ec:ef:00:0a:01 3C-EC-EF-00-0A-01 3cec.ef00.0a01 enx3cecef000a01", "mac-# mac-# mac-# enxmac-#"),
        ("a0:00:02:20:fe:80:00:00:00:00:00:00:58:a2:e1:03:00:0a:00:40", "mac-#"),
        // Numbers that things are known by.
        ("GPU-5c1e8f6a-1b2c-4d3e-8f90-a1b2c3d4e5f6", "GPU-uuid-#"),
        ("MIG-5c1e8f6a-1b2c-4d3e-8f90-a1b2c3d4e5f6", "MIG-uuid-#"),
        ("0x506b4b0300abcdef 506b:4b03:00ab:cdef 506b4b0300abcdef", "guid-# guid-# guid-#"),
        ("fe80:0000:0000:0000:506b:4b03:00ab:cdef", "guid-#"),
        ("Node GUID: 0x1234567890abcdef", "Node GUID: guid-#"),
        ("eui.0025385b71b0a1c2 wwn-0x5000c500a1b2c3d4", "eui.serial-# wwn-serial-#"),
        ("Serial Number: 1650522000017", "Serial Number: serial-#"),
        ("2f8d1c3b4a5968778695a4b3c2d1e0f9", "uuid-#"),
        // People and what is theirs.
        ("/home/alice/project/train.py: no such file", "/home/user-#/path-#: no such file"),
        ("cd /home/alice", "cd /home/user-#"),
        ("python (pid 7, user alice, started", "python (pid 7, user user-#, started"),
        ("session opened for user bob(uid=1001)", "session opened for user user-#(uid=1001)"),
        ("Accepted publickey for carol from 10.1.2.3", "Accepted publickey for user-# from ip-#"),
        ("UserId=alice(1001) uid=1001(alice)", "UserId=user-#(1001) uid=1001(user-#)"),
        ("ssh dave@login1", "ssh user-#@host-#"),
        ("alice:x:1001:1001:Alice Doe,,,:/home/alice:/bin/bash", "user-#:x:1001:1001:user-#,,,:/home/user-#:/bin/bash"),
        ("Reason=x [alice@2026-11-20T08:15:00]", "Reason=x [user-#@2026-11-20T08:15:00]"),
        (
            "StorageUser=alice SLURM_JOB_USER=bob SlurmUser=slurm",
            "StorageUser=user-# SLURM_JOB_USER=user-# SlurmUser=slurm",
        ),
        ("cannot open /scratch/alice/run7/x.pt.", "cannot open /scratch/path-#."),
        ("/mnt/nvme0 /data2/a:/projects/b", "/mnt/nvme0 /data2/path-#:/projects/path-#"),
        ("acmefs-OST0003-osc-ffff9a8b: x, lustre-MDT0000", "path-#-OST0003-osc-ffff9a8b: x, lustre-MDT0000"),
        ("mgs1@o2ib:/acmefs on /x", "host-#@o2ib:/path-# on /x"),
        ("host/gpu042.cluster.acme.com@ACME.COM", "host/host-#.domain-#@domain-#"),
        ("subject: CN=cn1.acme.org,O=Acme Labs,C=DE", "subject: CN=host-#.domain-#,O=domain-#,C=DE"),
        ("login.center.it registry.acme.io:5000/x", "host-#.domain-# host-#.domain-#:5000/x"),
        // Numbers that only the words before them tell.
        ("S/N:ZC1ABCD2, WWN:5-000c50-0a1b2c3d4", "S/N:serial-#, WWN:serial-#"),
        (
            "serial 80CE0123AB Service Tag: 7XK2R33 asset tag ACME-00417",
            "serial serial-# Service Tag: serial-# asset tag serial-#",
        ),
        // Secrets.
        ("sshpass -p Sshp4ss ssh x; mysql -phunter2 db", "sshpass -p secret-# ssh x; mysql -psecret-# db"),
        ("curl -s -u admin:T0p https://docs.kernel.org/", "curl -s -u secret-# https://docs.kernel.org/"),
        ("/usr/bin/ipmitool -I lanplus -P Ipm1 sel list", "/usr/bin/ipmitool -I lanplus -P secret-# sel list"),
        ("client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLQ==", "client-key-data: secret-#"),
        ("{\"auth\":\"YWRtaW46aHVudGVyMg==\"}", "{\"auth\":\"secret-#\"}"),
        (
            "https://s3.internal/b?x=1&X-Amz-Signature=fe5f80f7&y=2",
            "https://host-#.internal/b?x=1&X-Amz-Signature=secret-#&y=2",
        ),
        ("ED25519 SHA256:uNiVztksCsDhcc0u9e8BrWSmzCYaGZJ8V1pT1zOmEX4", "ED25519 secret-#"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=secret-#"),
        ("rw,username=alice,password=p4ss!word,vers=3.0", "rw,username=user-#,password=secret-#,vers=3.0"),
        ("StoragePass=hunter2\nStoragePort=6819", "StoragePass=secret-#\nStoragePort=6819"),
        ("\"api_key\": \"abc123\"", "\"api_key\": \"secret-#\""),
        ("mysql --password hunter2 -u x", "mysql --password secret-# -u x"),
        ("--token=abc", "--token=secret-#"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer secret-#"),
        ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl y", "x secret-# y"),
        ("https://bob:s3cr3t@git.acme.com/x.git", "https://user-#:secret-#@host-#.domain-#/x.git"),
        ("AKIAIOSFODNN7EXAMPLE ghp_0123456789abcdefABCDEF0123456789abcd", "secret-# secret-#"),
        ("xoxb-123456789012-abcdefGHIJKL AIzaSyA1234567890abcdefghijklmnopqrstuv", "secret-# secret-#"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb", "a\nsecret-#\nb"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\\nb3Blbn", "secret-#"),
        ("root:$6$saltsalt$0123456789abcdefABCDEF/.:19000:0", "root:secret-#:19000:0"),
        ("MUNGE:AwQFAABr3Zq8mXyZ0123==:", "secret-#"),
    ] {
        assert_eq!(shape(text), expected, "{text}");
    }
}

#[test]
fn what_a_diagnosis_needs_stays() {
    for text in [
        "NVRM: Xid (PCI:0000:9c:00): 79, pid=1234, name=python3, GPU has fallen off the bus.",
        "0000:9c:00.0 00000000:9C:00.0 pcieport 0000:00:01.1: AER: Corrected error received",
        "driver 550.90.07, VBIOS 96.00.74.00.01, InfoROM G520.0200.00.05",
        "iDRAC 7.00.00.171, fw_ver 16.35.3.6, firmware version 4.2.8.1, MLNX_OFED_LINUX-5.8-1.1.2.1, 2.17.1.1-1ubuntu2",
        "MCE: CPU 3 BANK 7 STATUS 0xbe00000000800400 ADDR 0x7f8abc1234567890 RIP 0xffffffff81000000",
        "127.0.0.1:6819 ::1 0.0.0.0 255.255.255.0 :: ff02::1 00:00:00:00:00:00 ff:ff:ff:ff:ff:ff localhost",
        "at 08:15:00 on 2026-11-20T08:15:00Z, for 1:02:03",
        "00000000-0000-0000-0000-000000000000",
        "/sys/devices/system/node/node1 /dev/nvme0n1 /var/log/messages /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
        "getty@tty1.service user@1000.service systemd-fsck@dev-disk.service /home /home/ /root/.bashrc",
        "https://docs.nvidia.com/deploy/xid-errors/ https://docs.kernel.org/x.html",
        "user root, user slurm, user=nobody, munge, uid=0(root)",
        "nvidia.ko foo.py a.service gpu.ecc.volatile.uncorrectable host.os.id cpu.online",
        "/etc/passwd: permission denied; /etc/munge/munge.key: no such file",
        "cluster.local docker.io/library/x nvcr.io/nvidia/pytorch:24.10-py3 huggingface.co checkpoint.pt",
        "sig=11 serial 8250 serial 115200 max_user=4 superuser=yes -p 80 mysql -p db",
        "/opt/nvidia/x /scratch /data/ /sys/data/x /var/lib/data/x.y lustre-OST0001 type=domain",
        "max_password_age=90 token_count: 3 password= password=none credentials=/etc/cifs key=1 bypass=1",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "tmpfs:/x error:/sys NVLink: link 3: down, CRC 5",
    ] {
        assert_eq!(shape(text), text);
    }
}

#[test]
fn the_words_of_the_checklists_stay() {
    for text in checklist::builtin_texts() {
        let mut redactor = redactor();
        redactor.learn(&json!({ "host": { "value": { "name": "gpu042.cluster.acme.com" } }, "user": "alice" }));
        let mut document: Json = serde_yaml::from_str(text).unwrap();
        redactor.remember_places();
        // The names of its variables are no fields of a node.
        for part in ["checks", "causes"] {
            for one in document[part].as_array_mut().into_iter().flatten() {
                one.as_object_mut().unwrap().remove("for_each");
            }
        }
        let before = document.clone();
        redactor.redact(&mut document);
        let replaced: Vec<String> =
            redactor.replaced().iter().map(|one| format!("{}: {:?}", one.original, one.places)).collect();
        assert!(document == before, "{replaced:#?}");
    }
}

#[test]
fn a_node_named_like_one_of_our_words_does_not_rename_everything() {
    for name in ["gpu", "vm", "kernel", "h100"] {
        let mut document = json!({
            "node": { "name": name, "product": "Supermicro H100 VM" },
            "outcomes": [{ "message": format!("The gpu and the vm and the kernel are well, says H100, {name}@x") }],
            "argv": ["scontrol", "show", "node", name],
        });
        redactor().redact(&mut document);
        assert_ne!(document["node"]["name"], name);
        let message = document["outcomes"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("The gpu and the vm and the kernel are well, says H100, "), "{message}");
    }
}

#[test]
fn fields_tell_what_no_form_gives_away() {
    let document = of_node(json!({
        "processes": [
            { "user": "alice", "uid": 1001, "arguments": ["mysql", "--password", "hunter2", "x"] },
            { "arguments": ["/usr/bin/sshpass", "-p", "Sshp4ss", "ssh", "-p", "22"] },
            { "user": "svc", "uid": 312 },
        ],
        "disk": { "serial": "ABC 12-34", "wwid": "t10.ATA x" },
        "mounts": [
            { "mount_point": "/acme/data", "source": "weka1,weka2/acmefs" },
            { "mount_point": "/projects/rhea", "source": "//filer/share" },
            { "mount_point": "/scratch", "source": "/dev/sdb1" },
        ],
        "log": ["alice ran on weka1", "svc", "/acme/data/x is full", "acmefs-OST0003: hunter2 ABC 12-34"],
        "file": { "path": "/etc/munge/munge.key", "contents": "anything" },
        "hosts": { "path": "/etc/hosts", "contents": "10.1.2.3 ctl ctl.acme # x\n127.0.0.1 localhost" },
        "lines": ["-----BEGIN PRIVATE KEY-----", "QUJD", "-----END PRIVATE KEY-----", "after"],
        "out": { "stdout": "{\"hostname\": \"weka9\", \"SerialNumber\": \"QX-1\", \"user\": \"carol\"}" },
        "later": "carol on weka9",
        "firmware": "1.2.3.4",
        "keys": { "Mounts of weka1": 1, "alice": 2 },
        "json": { "alice": 3, "serial": 12345678 },
    }));
    assert_eq!(
        document,
        json!({
            "processes": [
                { "user": "user-#", "uid": 1001, "arguments": ["mysql", "--password", "secret-#", "x"] },
                { "arguments": ["/usr/bin/sshpass", "-p", "secret-#", "ssh", "-p", "22"] },
                { "user": "svc", "uid": 312 },
            ],
            "disk": { "serial": "serial-#", "wwid": "serial-#" },
            "mounts": [
                { "mount_point": "/path-#", "source": "host-#,host-#/path-#" },
                { "mount_point": "/projects/path-#", "source": "//host-#/share" },
                { "mount_point": "/scratch", "source": "/dev/sdb1" },
            ],
            "log": ["user-# ran on host-#", "svc", "/path-#/x is full", "path-#-OST0003: secret-# serial-#"],
            "file": { "path": "/etc/munge/munge.key", "contents": "secret-#" },
            "hosts": { "path": "/etc/hosts", "contents": "ip-# host-# host-#.domain-# # x\n127.0.0.1 localhost" },
            "lines": ["secret-#", "secret-#", "secret-#", "after"],
            "out": { "stdout": "{\"hostname\": \"host-#\", \"SerialNumber\": \"serial-#\", \"user\": \"user-#\"}" },
            "later": "user-# on host-#",
            "firmware": "1.2.3.4",
            "keys": { "Mounts of host-#": 1, "alice": 2 },
            "json": { "user-#": 3, "serial": "serial-#" },
        })
    );
}

#[test]
fn one_thing_has_one_pseudonym_however_it_is_written() {
    let mut document = json!([
        "10.31.0.3",
        "::ffff:10.31.0.3",
        "0000:0000:0000:0000:0000:ffff:0a1f:0003",
        "0A1F0003,10.31.0.3",
        "3c:ec:ef:00:0a:01",
        "3C-EC-EF-00-0A-01",
        "enx3cecef000a01",
        "0x506b4b0300abcdef",
        "506b:4b03:00ab:cdef",
        "fe80:0000:0000:0000:506b:4b03:00ab:cdef",
        "2001:db8::1",
        "2001:0DB8:0:0:0:0:0:1",
    ]);
    let mut redactor = redactor();
    redactor.redact(&mut document);
    let replaced = redactor.replaced();
    assert_eq!(replaced.len(), 4, "{replaced:#?}\n{document:#}");
    assert_eq!(replaced.iter().map(|one| one.count).sum::<usize>(), 13, "{replaced:#?}\n{document:#}");
}

#[test]
fn the_key_decides_and_redacting_twice_changes_nothing() {
    let document = json!({ "node": { "name": "cn118.acme.com" }, "log": "cn118 and cn119 at 10.1.2.3, /home/bob/x" });
    let redact = |key: &[u8], document: &Json| {
        let mut document = document.clone();
        Redactor::new(key).redact(&mut document);
        document
    };
    let (one, again, other) = (redact(b"a", &document), redact(b"a", &document), redact(b"b", &document));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(redact(b"b", &one), one);
}

#[test]
fn two_things_never_share_a_pseudonym() {
    let mut redactor = redactor();
    redactor.digits = 1;
    let addresses: Vec<String> = (0..64).map(|number| format!("10.0.0.{number}")).collect();
    let mut document = json!(addresses);
    redactor.redact(&mut document);
    let different: BTreeSet<&str> = document.as_array().unwrap().iter().filter_map(Json::as_str).collect();
    assert_eq!(different.len(), 64);
}

#[test]
fn no_text_makes_it_fail() {
    // Cut anywhere, and with anything in between.
    let whole = "Nov 20 08:15:00 gpu042 kernel: a:x:1001:1001:É:/home/é:/bin/sh user=bób@x://u:p@h:1/ -----BEGIN 10.0.0.1- \
                 fe80::%1 \u{1b}[1;31mgpu042 0x506b4b0300abcdef eui. 3cec.ef00. password=\" --token \\\"key\\\": \\\" $6$a$ \
                 //s/ \\\\s\\s Gres of gpu[ NodeName=gpu[0 serial: ip-1-2-3-4 日本@本 Bearer  /home/ dc= %2 ::ffff:1.2.3.4";
    for (start, _) in whole.char_indices() {
        shape(&whole[start..]);
        shape(&whole[..start]);
        shape(&format!("{}\u{202E}{}", &whole[..start], &whole[start..]));
    }
}
