"""What check-db and doctor find, in English and Chinese: a sentence, and what to do about it.

They stand by key, like the refusals of messages.py, because the services that find them know no request.
"""

from __future__ import annotations

from dataclasses import dataclass

from oneapi.i18n.messages import Language


@dataclass(frozen=True, slots=True)
class Words:
    """What was found, and its cure ("" where nothing is wrong), in both languages; {names} are filled in."""

    english: str
    chinese: str
    english_cure: str = ""
    chinese_cure: str = ""

    def text(self, language: Language) -> str:
        return self.chinese if language == "zh" else self.english

    def cure(self, language: Language) -> str:
        return self.chinese_cure if language == "zh" else self.english_cure


WORDS: dict[str, Words] = {
    # ---- a database ----
    "database": Words("{product} {version} answers.", "{product} {version} 可用。"),
    "database_away": Words(
        "The database cannot be used: {reason}",
        "数据库不可用：{reason}",
        "Start it, or correct {variable}.",
        "请启动数据库，或修正 {variable}。",
    ),
    "version_too_old": Words(
        "{product} {version} is older than {least}, the oldest that can be worked with.",
        "{product} {version} 过旧，最低要求 {least}。",
        "Upgrade it.",
        "请升级。",
    ),
    "unprepared": Words(
        "The database has not been prepared by this program yet, or not to its newest step.",
        "数据库尚未由本程序初始化，或未升级到最新步骤。",
        "Start the program on a master node; `oneapi check-db` says what that would add.",
        "请在主节点启动程序；`oneapi check-db` 会说明将新增哪些内容。",
    ),
    "newer": Words(
        "The database was migrated by a newer version of this program, to step {step}.",
        "数据库已由更新版本的程序升级到步骤 {step}。",
        "Use that version.",
        "请使用该版本。",
    ),
    "lacks": Words(
        "The database says that it is migrated, but lacks {what}.",
        "数据库标记为已升级，但缺少 {what}。",
        "Restore them from a backup, or delete the table alembic_version: the next start adds what is missing.",
        "请从备份恢复，或删除表 alembic_version：下次启动会补齐缺失部分。",
    ),
    "rights": Words("The account may read, write and change tables.", "数据库账号具备读写与修改表结构的权限。"),
    "rights_unseen": Words(
        "The account's rights come from a role and were not judged.",
        "账号权限来自角色，未作判断。",
    ),
    "rights_missing": Words(
        "The account lacks rights that the program needs: {rights}.",
        "数据库账号缺少所需权限：{rights}。",
        "As the database's administrator: {statement}",
        "请以数据库管理员身份执行：{statement}",
    ),
    "charset": Words("Text is kept as {charset}.", "文本字符集为 {charset}。"),
    "charset_narrow": Words(
        "Not every character can be stored, for these have another charset than {wanted}: {tables}.",
        "以下对象的字符集不是 {wanted}，无法保存所有字符：{tables}。",
        "After a backup: {statement}",
        "备份后执行：{statement}",
    ),
    "encoding": Words(
        "The database's encoding is {charset}, in which not every character can be stored.",
        "数据库编码为 {charset}，无法保存所有字符。",
        "Move it into a database made with ENCODING 'UTF8' (pg_dump, createdb -E UTF8, pg_restore).",
        "请迁移到以 ENCODING 'UTF8' 创建的数据库（pg_dump、createdb -E UTF8、pg_restore）。",
    ),
    "clock": Words("Its clock and this machine's agree.", "数据库与本机时钟一致。"),
    "clock_differs": Words(
        "Its clock and this machine's differ by {seconds} s: leases and expiry of codes suffer.",
        "数据库与本机时钟相差 {seconds} 秒，会影响任务租约与验证码有效期。",
        "Switch on NTP on both machines: timedatectl set-ntp true",
        "请在两台机器上启用 NTP：timedatectl set-ntp true",
    ),
    "connections": Words(
        "It allows {allowed} connections, as many as this node's workers open at most ({wanted}) or more.",
        "数据库允许 {allowed} 个连接，不少于本节点最多使用的 {wanted} 个。",
    ),
    "connections_few": Words(
        "This node's workers may open {wanted} connections, the server allows {allowed} to all nodes together.",
        "本节点最多打开 {wanted} 个连接，而数据库总共只允许 {allowed} 个。",
        "Lower SQL_MAX_OPEN_CONNS, or raise the server's max_connections.",
        "请调低 SQL_MAX_OPEN_CONNS，或调高数据库的 max_connections。",
    ),
    "duplicates": Words(
        "Values of {column} stand in more than one row ({count}), so no unique index can be made. Rows: {rows}.",
        "{column} 有 {count} 个值重复，无法创建唯一索引。相关行：{rows}。",
        "Delete or change all but one of each; until then the program does not start.",
        "请逐一删除或修改，只保留一行；否则程序无法启动。",
    ),
    "options": Words("All option values can be read.", "所有设置项均可读取。"),
    "option_unreadable": Words(
        "{warning}", "{warning}", "Save it again on the settings pages.", "请在设置页面重新保存。"
    ),
    "root_password": Words(
        "The account root still has the password that everyone knows.",
        "root 账户仍在使用人尽皆知的默认密码。",
        "Sign in as root and change it.",
        "请以 root 登录并修改密码。",
    ),
    "root_password_own": Words("The account root has a password of its own.", "root 账户已修改默认密码。"),
    # ---- SQLite ----
    "sqlite_folder": Words("{folder} can be written to.", "{folder} 可写。"),
    "sqlite_folder_closed": Words(
        "{what} cannot be written to ({reason}): SQLite makes files beside its own.",
        "{what} 不可写（{reason}）：SQLite 需要在数据库旁创建文件。",
        "chown the folder with all that is in it to the user whom the program runs as.",
        "请将该文件夹及其内容的所有者改为运行程序的用户（chown -R）。",
    ),
    "sqlite_wal": Words("Readers and writers do not wait for each other (WAL).", "读写互不等待（WAL 模式）。"),
    "sqlite_no_wal": Words(
        "The file's journal mode is {mode}, not wal: readers and writers wait for each other.",
        "数据库日志模式为 {mode} 而非 wal，读写会互相等待。",
        "Start this program on it once, while no other program has the file open.",
        "请在没有其他程序打开该文件时启动一次本程序。",
    ),
    "sqlite_disk": Words("The file lies on a disk of this machine ({kind}).", "数据库文件位于本机磁盘（{kind}）。"),
    "sqlite_network": Words(
        "The file lies on a network filesystem ({kind}), whose locks SQLite cannot rely on: it may be destroyed.",
        "数据库文件位于网络文件系统（{kind}），其文件锁不可靠，可能损坏数据。",
        "Move it to a disk of this machine (SQLITE_PATH), or use MySQL or PostgreSQL.",
        "请移到本机磁盘（SQLITE_PATH），或改用 MySQL 或 PostgreSQL。",
    ),
    # ---- the upgrade ----
    "upgrade_fails": Words(
        "The upgrade of a copy failed: {reason}",
        "升级副本失败：{reason}",
        "Nothing was changed. Remove the cause before you start the program on this database.",
        "原数据库未被修改。请先排除原因，再用本程序启动。",
    ),
    "contents_equal": Words(
        "All that was there is unchanged: {tables}.",
        "原有内容全部一致：{tables}。",
    ),
    "contents_differ": Words(
        "{table}: {difference}",
        "{table}：{difference}",
        "Do not go on before you know why. Did a program write to the database meanwhile?",
        "请先查明原因。期间是否有程序写入过数据库？",
    ),
    "no_room": Words(
        "A copy of {needed} MB finds no room in {folder}.",
        "{folder} 空间不足，无法放置 {needed} MB 的副本。",
        "Name a folder with more room: TMPDIR=/path oneapi check-db",
        "请指定空间更大的文件夹：TMPDIR=/path oneapi check-db",
    ),
    # ---- Redis ----
    "redis_none": Words(
        "Redis is not configured: limits and news are this node's own, which is right for a single node.",
        "未配置 Redis：限流与变更通知只在本节点有效，单节点时无妨。",
    ),
    "redis": Words("Redis {version} answers within {ms} ms.", "Redis {version} 在 {ms} 毫秒内响应。"),
    "redis_away": Words(
        "Redis cannot be used: {reason}",
        "Redis 不可用：{reason}",
        "Start it, or correct REDIS_CONN_STRING. Until then limits count per node.",
        "请启动 Redis，或修正 REDIS_CONN_STRING。在此之前各节点分别计数。",
    ),
    "redis_slow": Words(
        "Redis takes {ms} ms to answer.",
        "Redis 响应需要 {ms} 毫秒。",
        "Run it nearer to the program: each limited request waits for it.",
        "请将其部署得离程序更近：每个受限请求都要等待它。",
    ),
    "redis_evicts": Words(
        "Redis forgets keys when its memory is full (maxmemory-policy {policy}), limits among them.",
        "Redis 内存满时会淘汰键（maxmemory-policy {policy}），限流计数也可能丢失。",
        "redis-cli config set maxmemory-policy noeviction, and the same in redis.conf; or a Redis of its own.",
        "执行 redis-cli config set maxmemory-policy noeviction 并写入 redis.conf；或使用单独的 Redis。",
    ),
    # ---- this machine ----
    "folder": Words("{folder} can be written to.", "{folder} 可写。"),
    "folder_closed": Words(
        "{folder} cannot be written to: {reason}.",
        "{folder} 不可写：{reason}。",
        "chown it to the user whom the program runs as, or name another by {variable}.",
        "请将其所有者改为运行程序的用户，或用 {variable} 指定其他文件夹。",
    ),
    "session_secret_kept": Words(
        "SESSION_SECRET is unset: the secret is kept in the database, and all nodes read it there.",
        "未设置 SESSION_SECRET：密钥保存在数据库中，各节点共用。",
    ),
    "session_secret": Words(
        "SESSION_SECRET is set; it must be the same on all nodes.",
        "已设置 SESSION_SECRET；各节点必须一致。",
    ),
    "session_secret_short": Words(
        "SESSION_SECRET is so short that it can be guessed.",
        "SESSION_SECRET 过短，容易被猜出。",
        "Replace it on all nodes by the output of: openssl rand -hex 32",
        "请在所有节点替换为以下命令的输出：openssl rand -hex 32",
    ),
    "setting": Words("{line}", "{line}", "Correct the variable.", "请修正该环境变量。"),
    "workers": Words("Worker processes: {workers}.", "工作进程：{workers} 个。"),
    "workers_many": Words(
        "{workers} workers on SQLite mostly wait for each other.",
        "SQLite 下 {workers} 个工作进程大多在互相等待。",
        "Set WEB_CONCURRENCY=2, or use MySQL or PostgreSQL.",
        "请设置 WEB_CONCURRENCY=2，或改用 MySQL 或 PostgreSQL。",
    ),
    "files": Words("{allowed} files may be open at once.", "允许同时打开 {allowed} 个文件。"),
    "files_few": Words(
        "Only {allowed} files may be open at once; WORKER_CONNECTIONS promises {wanted} connections.",
        "只允许同时打开 {allowed} 个文件，而 WORKER_CONNECTIONS 为 {wanted}。",
        "Raise the limit (LimitNOFILE=65536 in systemd, ulimit -n 65536 in a shell), or lower WORKER_CONNECTIONS.",
        "请提高限制（systemd：LimitNOFILE=65536；shell：ulimit -n 65536），或调低 WORKER_CONNECTIONS。",
    ),
    # ---- through the public address ----
    "url_away": Words(
        "{url} cannot be reached: {reason}",
        "无法访问 {url}：{reason}",
        "See that the program runs, that the proxy names its port, and that name and certificate are right.",
        "请确认程序在运行、反向代理端口正确、域名与证书有效。",
    ),
    "url_untried": Words(
        "The way through {url} was not tried: {reason}",
        "未能检查 {url}：{reason}",
        "Set right what is said of the database first.",
        "请先解决数据库方面的问题。",
    ),
    "url_not_ours": Words(
        "{url}/api/status is answered by something else (status {status}).",
        "{url}/api/status 由其他程序响应（状态码 {status}）。",
        "Point the proxy at this program: proxy_pass http://127.0.0.1:3000;",
        "请让反向代理指向本程序：proxy_pass http://127.0.0.1:3000;",
    ),
    "url_moved": Words(
        "{url} sends everybody to {location}.",
        "{url} 会跳转到 {location}。",
        "Give the address that clients should use: --url",
        "请用 --url 指定客户端实际使用的地址。",
    ),
    "url": Words("{url} is version {version} of this program.", "{url} 为本程序 {version} 版。"),
    "url_other_version": Words(
        "{url} runs version {version}; this command is {ours}.",
        "{url} 运行的是 {version} 版，本命令为 {ours} 版。",
        "Restart the program after an upgrade.",
        "升级后请重启程序。",
    ),
    "installation": Words("It is this installation.", "确认为同一套部署。"),
    "installation_other": Words(
        "It is another installation than the one whose database this command reads.",
        "该地址对应的部署与本命令读取的数据库不是同一套。",
        "Run the command with the same environment or .env as the program, or correct the proxy's target.",
        "请使用与程序相同的环境变量或 .env 运行本命令，或修正反向代理的目标。",
    ),
    "authorization_lost": Words(
        "The header Authorization does not arrive: no API key would.",
        "Authorization 请求头未能到达程序，任何 API 密钥都无法使用。",
        "Let the proxy pass it on; do not set or hide it there.",
        "请让反向代理原样转发该请求头，不要在代理中设置或隐藏它。",
    ),
    "probe_odd": Words(
        "The check of {what} was answered with status {status}.",
        "检查{what}时返回状态码 {status}。",
        "See the proxy's error log.",
        "请查看反向代理的错误日志。",
    ),
    "token": Words("The API key is accepted.", "API 密钥可用。"),
    "token_refused": Words(
        "The API key is refused (status {status}): {message}",
        "API 密钥被拒绝（状态码 {status}）：{message}",
        "Use a key of an enabled token.",
        "请使用已启用令牌的密钥。",
    ),
    "stream": Words("Streams arrive as they are sent.", "流式回答实时到达。"),
    "stream_buffered": Words(
        "Streams are held back: events sent over {sent} s arrived within {received} s.",
        "流式回答被缓冲：{sent} 秒内发出的事件在 {received} 秒内一次性到达。",
        "In the proxy:\n{nginx}\nand without proxy_ignore_headers for X-Accel-Buffering; "
        "a CDN must not buffer or cache /v1/.",
        "写入反向代理的 location 块：\n{nginx}\n"
        "并且不要用 proxy_ignore_headers 忽略 X-Accel-Buffering；CDN 不得缓冲或缓存 /v1/。",
    ),
    "stream_by_header": Words(
        "The proxy buffers; streams pass only because the program asks it not to (X-Accel-Buffering).",
        "反向代理开启了缓冲；流式回答仅因程序的 X-Accel-Buffering 响应头才能通过。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
    "gzip": Words("Streams are not compressed.", "流式回答未被压缩。"),
    "gzip_on": Words(
        "Streams are compressed ({encoding}): events wait until a block is full.",
        "流式回答被压缩（{encoding}），事件会等到凑满一块才发出。",
        "In the proxy:\n{nginx}\nor take text/event-stream out of gzip_types; in a CDN, no compression for /v1/.",
        "写入反向代理的 location 块：\n{nginx}\n或从 gzip_types 中去掉 text/event-stream；CDN 请对 /v1/ 关闭压缩。",
    ),
    "idle": Words("A silence of {seconds} s is borne.", "可承受 {seconds} 秒无数据。"),
    "idle_cut": Words(
        "A connection that is silent is cut after {after} s; models may think longer.",
        "连接静默 {after} 秒后即被切断；模型思考的时间可能更长。",
        "In the proxy:\n{nginx}\nCDNs have limits of their own (Cloudflare: 100 s).",
        "写入反向代理的 location 块：\n{nginx}\nCDN 另有自己的限制（Cloudflare 为 100 秒）。",
    ),
    "body": Words("A request of {mb} MB arrives.", "{mb} MB 的请求可以到达。"),
    "body_limited": Words(
        "A request of {mb} MB is refused by the proxy ({reason}): images and long prompts fail.",
        "{mb} MB 的请求被反向代理拒绝（{reason}），图片与长提示会失败。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
    "address": Words(
        "The program sees clients' addresses; this one is {client}.", "程序能看到客户端地址，当前为 {client}。"
    ),
    "address_direct": Words(
        "No proxy stands in between; this client's address is {client}.",
        "中间没有反向代理，客户端地址为 {client}。",
    ),
    "address_hidden": Words(
        "The proxy does not say whose requests it passes on: all seem to come from {peer}, and share its limits.",
        "反向代理未告知客户端地址：所有请求看似都来自 {peer}，并共用其限流。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
    "address_claimed": Words(
        "The proxy leaves X-Forwarded-For as clients send it: whoever sends one chooses his own address, and evades"
        " limits; all others seem to come from {peer}, and share them.",
        "反向代理未设置 X-Forwarded-For：客户端可以伪造地址绕过限流，其余请求看似都来自 {peer}，并共用其限流。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
    "proxy_untrusted": Words(
        "The proxy's address {peer} is not in TRUSTED_PROXIES: what it says of clients is not believed.",
        "反向代理地址 {peer} 不在 TRUSTED_PROXIES 中，其转发的客户端地址不被采信。",
        "TRUSTED_PROXIES={networks}",
        "TRUSTED_PROXIES={networks}",
    ),
    "scheme_hidden": Words(
        "The program takes https for {scheme}: links and sign-in with third parties go wrong.",
        "程序把 https 当成了 {scheme}，链接与第三方登录会出错。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
    "host_hidden": Words(
        "The program is told the host {seen} instead of {host}.",
        "程序收到的主机名是 {seen}，而不是 {host}。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
    "http10": Words(
        "The proxy speaks {protocol} to the program: every request makes a new connection.",
        "反向代理以 {protocol} 连接程序，每个请求都要新建连接。",
        "In the proxy:\n{nginx}",
        "写入反向代理的 location 块：\n{nginx}",
    ),
}
