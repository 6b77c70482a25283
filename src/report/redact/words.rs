//! What everybody has, and nobody needs to hide: accounts that systems bring with them, names that stand for no
//! machine in particular, sites where documentation is, folders that every node has.

/// Accounts that distributions, schedulers and services make (those of Debian's and Red Hat's `base-passwd` and `setup`
/// packages first), and those of cloud images.
const USERS: &[&str] = &[
    "_apt",
    "_chrony",
    "_rpc",
    "_ssh",
    "adm",
    "apache",
    "apt",
    "avahi",
    "backup",
    "bin",
    "ceph",
    "centos",
    "chrony",
    "cloud-user",
    "clevis",
    "cockpit-ws",
    "colord",
    "daemon",
    "dbus",
    "debian",
    "dnsmasq",
    "docker",
    "ec2-user",
    "etcd",
    "fedora",
    "ftp",
    "fwupd-refresh",
    "games",
    "gdm",
    "geoclue",
    "gluster",
    "gnats",
    "grafana",
    "haldaemon",
    "halt",
    "irc",
    "kernoops",
    "kube",
    "ldap",
    "lightdm",
    "list",
    "lp",
    "lxd",
    "mail",
    "man",
    "messagebus",
    "mlocate",
    "munge",
    "mysql",
    "named",
    "news",
    "nfsnobody",
    "nginx",
    "nobody",
    "node_exporter",
    "nscd",
    "nslcd",
    "ntp",
    "nvidia",
    "nvidia-persistenced",
    "opensm",
    "operator",
    "oprofile",
    "pesign",
    "pmix",
    "polkitd",
    "pollinate",
    "postfix",
    "postgres",
    "prometheus",
    "proxy",
    "puppet",
    "qemu",
    "radvd",
    "redis",
    "rocky",
    "root",
    "rpc",
    "rpcuser",
    "rtkit",
    "saned",
    "saslauth",
    "setroubleshoot",
    "shutdown",
    "slurm",
    "slurmrestd",
    "slurmdbd",
    "snmp",
    "squid",
    "sshd",
    "sssd",
    "statd",
    "sync",
    "sys",
    "syslog",
    "systemd-bus-proxy",
    "systemd-coredump",
    "systemd-network",
    "systemd-oom",
    "systemd-resolve",
    "systemd-timesync",
    "tcpdump",
    "telegraf",
    "tss",
    "tty",
    "ubuntu",
    "unbound",
    "usbmux",
    "utmp",
    "uucp",
    "uuidd",
    "video",
    "wheel",
    "whoopsie",
    "wwwrun",
    "www-data",
];

/// Whether an account is one that systems bring with them.
pub(super) fn is_service_account(name: &str) -> bool {
    USERS.contains(&name) || name.starts_with("systemd-") || name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Names that stand for no machine in particular, or for the machine itself.
pub(super) fn is_nobodys_host(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "localhost",
        "localhost4",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "none",
        "unknown",
        "null",
        "self",
        "local",
        "rootfs",
        "tmpfs",
        "proc",
        "sysfs",
        "overlay",
        "dev",
        "file",
        "true",
        "false",
        "any",
        "all",
        // What every cluster of Kubernetes calls itself.
        "cluster.local",
        "svc.cluster.local",
        // What stands for a name in our own texts.
        "name",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a name is that of a network of Lustre (`10.0.0.1@o2ib1`) and of no machine.
pub(super) fn is_lustre_network(name: &str) -> bool {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(letters, "o2ib" | "tcp" | "gni" | "kfi" | "ptlf" | "lo" | "elan")
}

/// Words of product names, which sites name their nodes after: a node called `h100` must not rename its GPUs.
pub(super) fn is_product_word(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "a10",
        "a100",
        "a10g",
        "a16",
        "a2",
        "a30",
        "a40",
        "a6000",
        "ada",
        "ampere",
        "b100",
        "b200",
        "b300",
        "blackwell",
        "bluefield",
        "connectx",
        "cray",
        "dgx",
        "egx",
        "epyc",
        "gb200",
        "gb300",
        "genoa",
        "gh200",
        "grace",
        "h100",
        "h20",
        "h200",
        "h800",
        "hgx",
        "hopper",
        "instinct",
        "l20",
        "l4",
        "l40",
        "l40s",
        "lovelace",
        "mgx",
        "mi250",
        "mi300",
        "mi300x",
        "milan",
        "nvl72",
        "ovx",
        "p100",
        "poweredge",
        "proliant",
        "quadro",
        "rome",
        "rtx",
        "rubin",
        "sapphire",
        "spectrum",
        "superchip",
        "t4",
        "tesla",
        "thinksystem",
        "turin",
        "v100",
        "vera",
        "volta",
        "xeon",
    ];
    WORDS.contains(&name)
}

/// What a firmware says where nobody gave it a serial number.
pub(super) fn is_no_serial(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "",
        "n/a",
        "na",
        "none",
        "null",
        "unknown",
        "empty",
        "not specified",
        "not available",
        "not settable",
        "not present",
        "not provided",
        "no asset tag",
        "no asset information",
        "no dimm",
        "asset tag",
        "default string",
        "system serial number",
        "chassis serial number",
        "base board serial number",
        "invalid",
        "to be filled by o.e.m.",
        "to be filled by o.e.m",
        "oem",
        "0123456789",
        "123456789",
        "1234567890",
        "[n/a]",
    ];
    let text = text.trim();
    let same = |text: &str| text.bytes().all(|byte| byte == text.as_bytes()[0] || !byte.is_ascii_alphanumeric());
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) || same(text)
}

/// Sites where vendors and projects keep their documentation and software: named in references, the same for everybody.
const PUBLIC: &[&str] = &[
    "amd.com",
    "arm.com",
    "cncf.io",
    "debian.org",
    "dell.com",
    "docker.com",
    "fedoraproject.org",
    "freedesktop.org",
    "github.com",
    "github.io",
    "gitlab.com",
    "gnu.org",
    "hpe.com",
    "intel.com",
    "k8s.io",
    "kernel.org",
    "kubernetes.io",
    "lenovo.com",
    "linux-nfs.org",
    "linux.die.net",
    "lustre.org",
    "lwn.net",
    "man7.org",
    "mellanox.com",
    "microsoft.com",
    "ntp.org",
    "nvidia.com",
    "nvidia.github.io",
    "open-mpi.org",
    "openfabrics.org",
    "pci-ids.ucw.cz",
    "pcisig.com",
    "podman.io",
    "readthedocs.io",
    "readthedocs.org",
    "redhat.com",
    "rockylinux.org",
    "samba.org",
    "schedmd.com",
    "smartmontools.org",
    "supermicro.com",
    "suse.com",
    "ubuntu.com",
    "uefi.org",
    "w3.org",
    "whamcloud.com",
    "wikipedia.org",
    "wiki.kernel.org",
    "almalinux.org",
    "archlinux.org",
    "anaconda.org",
    "cilium.io",
    "containerd.io",
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "huggingface.co",
    "nvcr.io",
    "openshift.io",
    "projectcalico.org",
    "pypi.org",
    "python.org",
    "pythonhosted.org",
    "pytorch.org",
    "quay.io",
    "tigera.io",
];

/// Whether a host name belongs to such a site.
pub(super) fn is_public(name: &str) -> bool {
    PUBLIC.iter().any(|site| {
        let at = name.len().wrapping_sub(site.len());
        name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(site)) && (at == 0 || name.as_bytes()[at - 1] == b'.')
    })
}

/// Endings that only names inside a site have (RFC 6761, RFC 6762, RFC 8375 and customary ones). What stands before
/// one is a host.
pub(super) fn is_inner_ending(label: &str) -> bool {
    const ENDINGS: &[&str] = &[
        "cluster",
        "corp",
        "example",
        "home",
        "hpc",
        "internal",
        "intra",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localdomain",
        "private",
        "test",
    ];
    ENDINGS.iter().any(|ending| ending.eq_ignore_ascii_case(label))
}

/// Endings of names on the internet: the old ones, some new ones, and those of countries except such as end the names
/// of files or fields (`.sh`, `.so`, `.pt`, `os.id`). More cannot be told from a file or a field by their form alone.
pub(super) fn is_outer_ending(label: &str) -> bool {
    const ENDINGS: &[&str] = &[
        "ac", "ad", "ae", "ai", "ar", "au", "ba", "bd", "bg", "biz", "br", "ca", "ch", "cl", "cn", "co", "com", "cr",
        "cy", "cz", "de", "dk", "dz", "edu", "ee", "eg", "es", "eu", "fi", "fr", "ge", "gov", "gr", "hk", "hr", "hu",
        "ie", "il", "ir", "jo", "jp", "ke", "kr", "kw", "kz", "lb", "lt", "lu", "lv", "ma", "mil", "mt", "mx", "net",
        "ng", "nl", "nz", "org", "pe", "pk", "qa", "ro", "ru", "sa", "se", "sg", "si", "sk", "th", "tn", "tr", "tw",
        "ua", "uk", "uy", "uz", "ve", "vn", "xyz", "za",
    ];
    let lower = label.bytes().all(|byte| byte.is_ascii_lowercase());
    let upper = label.bytes().all(|byte| byte.is_ascii_uppercase());
    (lower || upper) && ENDINGS.iter().any(|ending| ending.eq_ignore_ascii_case(label))
}

/// Folders at the root that every node has, with all below them.
pub(super) fn is_system_folder(name: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "bin",
        "boot",
        "cgroup",
        "dev",
        "efi",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "lost+found",
        "proc",
        "root",
        "run",
        "sbin",
        "snap",
        "swap",
        "sys",
        "tmp",
        "usr",
        "var",
        "host",
    ];
    FOLDERS.contains(&name)
}

/// Names that sites give their mounts alike, with a number or without: `/scratch`, `/data2`, `/mnt/nvme0`.
pub(super) fn is_usual_folder(name: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "apps",
        "archive",
        "backup",
        "beegfs",
        "burst",
        "cache",
        "ceph",
        "checkpoints",
        "cluster",
        "containers",
        "cvmfs",
        "data",
        "dataset",
        "datasets",
        "disk",
        "export",
        "exports",
        "fast",
        "flash",
        "fs",
        "fsx",
        "gpfs",
        "group",
        "groups",
        "home",
        "homes",
        "images",
        "local",
        "local_scratch",
        "lscratch",
        "lustre",
        "media",
        "mnt",
        "models",
        "modules",
        "nfs",
        "nvme",
        "opt",
        "pfs",
        "project",
        "projects",
        "raid",
        "resource",
        "root",
        "scratch",
        "share",
        "shared",
        "slow",
        "software",
        "spack",
        "srv",
        "ssd",
        "stage",
        "staging",
        "storage",
        "store",
        "sw",
        "temp",
        "tmp",
        "tools",
        "u",
        "users",
        "vast",
        "volume",
        "weka",
        "work",
        "workspace",
        "fs-",
        "localscratch",
    ];
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_']);
    FOLDERS.contains(&plain) || FOLDERS.contains(&name)
}

/// Words that number the parts of one machine: `gpu5` is a GPU as soon as a node.
pub(super) fn names_parts(stem: &str) -> bool {
    const STEMS: &[&str] = &[
        "bond", "br", "bus", "card", "ch", "core", "cpu", "cq", "device", "dimm", "disk", "dm", "eth", "fan", "gpu",
        "hfi", "ib", "irq", "lane", "link", "lun", "mc", "md", "node", "numa", "nvidia", "nvme", "nvswitch", "pcie",
        "port", "ps", "queue", "rank", "ring", "sd", "slot", "socket", "switch", "thread", "tty", "virtio", "vlan",
    ];
    STEMS.contains(&stem.trim_end_matches(['-', '_']))
}

/// A file whose contents nobody may see: keys, password files, credentials.
pub(super) fn is_secret_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    const NAMES: &[&str] = &[
        "munge.key",
        "shadow",
        "shadow-",
        "gshadow",
        "gshadow-",
        ".netrc",
        ".pgpass",
        ".my.cnf",
        "krb5.keytab",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
        "jwt_hs256.key",
        "jwks.json",
        "slurm.key",
        "slurm.jwks",
        "cifs-credentials",
        ".smbcredentials",
        "authkey",
        "beegfs.key",
        "wekafs.token",
        ".git-credentials",
        "redact.key",
    ];
    NAMES.contains(&name)
        || [".key", ".pem", ".p12", ".pfx", ".keytab", ".keyring", ".jks"].iter().any(|ending| name.ends_with(ending))
        || (name.starts_with("ssh_host_") && name.ends_with("_key"))
}

/// Whether the name of a field or variable says that its value is a secret: by its last words, so that
/// `max_password_age` does not and `AccountingStoragePass`, `AWS_SECRET_ACCESS_KEY` and `api-key` do.
pub(super) fn is_telling(key: &str) -> bool {
    let (rest, last) = last_word(key);
    // cifs takes password2, and rotations number their keys.
    let word = last.trim_end_matches(|c: char| c.is_ascii_digit());
    let is = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    if word.eq_ignore_ascii_case("key") {
        const KEYS_OF: &[&str] = &[
            "access",
            "account",
            "api",
            "apikey",
            "app",
            "auth",
            "client",
            "deploy",
            "encryption",
            "hmac",
            "jwt",
            "license",
            "master",
            "munge",
            "ngc",
            "private",
            "psk",
            "secret",
            "service",
            "session",
            "shared",
            "sharedaccess",
            "signing",
            "ssh",
            "storage",
            "wandb",
        ];
        let before = last_word(rest).1;
        return KEYS_OF.iter().any(|known| known.eq_ignore_ascii_case(before));
    }
    match word.len() {
        2 | 3 if is(&["pw", "pwd"]) => !last_word(rest).1.is_empty(),
        3 => is(&["psk", "jwt"]),
        4..=6 => is(&["pass", "secret", "token", "passwd", "apikey", "bindpw", "rootpw", "bearer"]),
        7..=12 => is(&[
            "password",
            "passphrase",
            "passwort",
            "secrets",
            "authtok",
            "credential",
            "accesskey",
            "secretkey",
            "privatekey",
            "authkey",
            "accountkey",
            "userpassword",
            "authtoken",
            "accesstoken",
            "dbpassword",
            "pgpassword",
        ]),
        _ => false,
    }
}

/// The last word of a name like `api-key`, `api_key` or `apiKey`, and what stands before it.
fn last_word(name: &str) -> (&str, &str) {
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let bytes = name.as_bytes();
    let begins = |at: usize| {
        let (before, byte) = (bytes[at - 1], bytes[at]);
        !before.is_ascii_alphanumeric() || (byte.is_ascii_uppercase() && before.is_ascii_lowercase())
    };
    let start = (1..bytes.len()).rev().find(|at| begins(*at)).unwrap_or(0);
    name.split_at(start)
}

/// Whether the name of a field or variable says that its value is an account: `StorageUser`, `SLURM_JOB_USER`.
pub(super) fn is_of_person(key: &str) -> bool {
    let (rest, last) = last_word(key);
    !rest.is_empty() && ["user", "username", "login", "owner"].iter().any(|known| known.eq_ignore_ascii_case(last))
}

/// Folders at the root in which people's work lies: what comes below is named by them, often after themselves. Not
/// those for software, whose names say what broke.
pub(super) fn keeps_work(name: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "archive",
        "beegfs",
        "checkpoints",
        "data",
        "dataset",
        "datasets",
        "export",
        "exports",
        "fsx",
        "gpfs",
        "group",
        "groups",
        "lscratch",
        "lustre",
        "mnt",
        "models",
        "nfs",
        "pfs",
        "project",
        "projects",
        "scratch",
        "share",
        "shared",
        "storage",
        "vast",
        "weka",
        "work",
        "workspace",
    ];
    FOLDERS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// Endings of countries that are short words as well: they count where two more names stand before them
/// (`login.center.it`).
pub(super) fn is_country_ending(label: &str) -> bool {
    ["at", "be", "in", "io", "it", "no", "pl", "pt", "us"].contains(&label)
}

/// How a program is given a secret by an option whose name does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SecretOption {
    name: &'static str,
    /// Whether it is the next word, or only the rest of the same one: `mysql -p NAME` asks for a password.
    apart: bool,
}

const fn apart(name: &'static str) -> SecretOption {
    SecretOption { name, apart: true }
}

/// The options by which a program is given secrets, from the manuals of the programs.
pub(super) fn secret_options(program: &str) -> &'static [SecretOption] {
    match program {
        "curl" => const { &[apart("-u"), apart("--user"), apart("--proxy-user")] },
        "sshpass" | "ipmipower" | "ipmi-sensors" | "ipmi-sel" | "ipmi-fru" | "racadm" | "redfishtool" | "mongo"
        | "mongosh" => const { &[apart("-p")] },
        "ipmitool" | "sqlcmd" => const { &[apart("-P")] },
        "mysql" | "mysqldump" | "mysqladmin" | "mariadb" | "mariadb-dump" | "7z" => {
            const { &[SecretOption { name: "-p", apart: false }] }
        }
        "ldapsearch" | "ldapwhoami" | "ldapmodify" => const { &[apart("-w")] },
        "redis-cli" => const { &[apart("-a")] },
        "smbclient" => const { &[apart("-U")] },
        "snmpget" | "snmpwalk" | "snmpbulkwalk" => const { &[apart("-c"), apart("-A"), apart("-X")] },
        _ => &[],
    }
}

/// Where in an argument the secret begins, if there is one in it (`follows`: the argument before said that it comes), and
/// whether the next argument is one.
pub(super) fn secret_argument(options: &[SecretOption], argument: &str, follows: bool) -> (Option<usize>, bool) {
    if follows {
        return (Some(0), false);
    }
    let joined = options.iter().find(|option| argument.starts_with(option.name));
    match joined {
        Some(option) if argument.len() == option.name.len() => (None, option.apart),
        // Long options are joined by `=`.
        Some(option) if option.name.starts_with("--") => {
            (argument[option.name.len()..].starts_with('=').then_some(option.name.len() + 1), false)
        }
        Some(option) => (Some(option.name.len()), false),
        None => (None, false),
    }
}
