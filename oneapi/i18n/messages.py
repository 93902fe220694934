"""Texts of the management API, in English and Chinese: what a refusal says to the person who meets it.

The panel's own labels are Babel catalogues beside this file. These texts stand apart because services raise them by
key, with neither a request nor a framework at hand. Clients must not match on them (spec management.md §4.1).
"""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]


def language_of(accept_language: str | None) -> Language:
    """Chinese where the header begins with zh, English otherwise. Source: One API, which looks at no more than that."""
    return "zh" if (accept_language or "").lstrip()[:2].lower() == "zh" else "en"


def text(key: str, language: Language, **values: object) -> str:
    """The message of that key with its values filled in."""
    english, chinese = MESSAGES[key]
    return (chinese if language == "zh" else english).format(**values)


MESSAGES: dict[str, tuple[str, str]] = {
    # ---- the request itself ----
    "invalid_parameter": ("Invalid parameter: {reason}", "无效的参数：{reason}"),
    "invalid_input": ("Invalid input: {reason}", "输入不合法：{reason}"),
    "body_is_no_object": ("the body must be a JSON object", "请求体必须是 JSON 对象"),
    "field_has_wrong_type": ("a field has the wrong type ({detail})", "字段类型错误（{detail}）"),
    "id_is_missing": ("an id is required", "缺少 id"),
    "too_large": ("The request body is too large", "请求体过大"),
    "record_not_found": ("Record not found", "记录不存在"),
    "internal_error": (
        "Something went wrong on our side. The log has the details under request id {request_id}",
        "服务器内部错误，请凭请求 ID {request_id} 查询日志",
    ),
    "database_away": ("The database cannot be reached; try again shortly", "数据库暂时不可用，请稍后重试"),
    "too_many_requests": ("Too many requests; try again in {seconds} s", "请求过于频繁，请在 {seconds} 秒后重试"),
    "too_many_attempts": (
        "Too many failed attempts; try again in {seconds} s",
        "失败次数过多，请在 {seconds} 秒后重试",
    ),
    # ---- who asks ----
    "not_logged_in": (
        "Not logged in, and no access token was given",
        "尚未登录，请求中也没有访问令牌",
    ),
    "access_token_invalid": ("The access token is invalid", "访问令牌不正确"),
    "account_disabled": ("This account is disabled", "该账户已停用"),
    "role_too_low": ("Your role does not permit this", "您的角色不允许执行此操作"),
    # ---- accounts ----
    "password_login_disabled": (
        "The administrator has switched off login by password",
        "本站未开放密码登录",
    ),
    "credentials_wrong": (
        "The name or password is wrong, or the account is disabled",
        "名称或密码不正确，或账户已停用",
    ),
    "registration_disabled": ("The administrator has switched off registration", "本站未开放注册"),
    "password_registration_disabled": (
        "The administrator has switched off registration by password; please use a third-party account",
        "本站未开放密码注册，请使用第三方账户",
    ),
    "email_and_code_required": (
        "An e-mail address and its verification code are required",
        "注册需要填写邮箱地址及其验证码",
    ),
    "code_wrong": ("The verification code is wrong or has expired", "验证码不正确或已失效"),
    "username_required": ("a user name is required", "用户名不能为空"),
    "username_too_long": ("a user name has at most {limit} characters", "用户名最多 {limit} 个字符"),
    "username_taken": ("This user name is taken", "该用户名已被使用"),
    "display_name_too_long": ("a display name has at most {limit} characters", "显示名称最多 {limit} 个字符"),
    "email_too_long": ("an e-mail address has at most {limit} characters", "邮箱地址最多 {limit} 个字符"),
    "group_too_long": ("a group name has at most {limit} characters", "分组名称最多 {limit} 个字符"),
    "password_length": (
        "a password has {least} to {most} characters and at most 72 bytes",
        "密码长度为 {least} 到 {most} 个字符，且不超过 72 字节",
    ),
    "current_password_wrong": ("The current password is wrong", "当前密码错误"),
    "user_not_found": ("There is no such user", "用户不存在"),
    "role_not_below_yours": (
        "You cannot act on a user whose role is equal to yours or higher",
        "不能操作角色与您相同或更高的用户",
    ),
    "role_not_grantable": (
        "A role must be 1 (common) or 10 (administrator), and below your own",
        "角色只能是 1（普通用户）或 10（管理员），并且要低于您自己的角色",
    ),
    "root_is_protected": (
        "A root account cannot be disabled, deleted or demoted",
        "超级管理员账户不能停用、删除或降级",
    ),
    "status_not_settable": (
        "A user's status can be set to 1 (enabled) or 2 (disabled)",
        "用户状态只能设置为 1（启用）或 2（停用）",
    ),
    "only_root_promotes": (
        "Only root may make a user an administrator",
        "只有超级管理员可以任命管理员",
    ),
    "already_admin": ("This user is an administrator already", "该用户本来就是管理员"),
    "already_common": ("This user is a common user already", "该用户本来就是普通用户"),
    "action_unknown": ("There is no such action: {action}", "未知的操作：{action}"),
    "quota_negative": ("the quota must not be negative", "额度不能为负数"),
    "quota_is_no_number": ("the quota must be a number", "额度必须是数字"),
    "quota_too_large": ("the quota is too large", "额度过大"),
    "group_name_invalid": ("a group needs a name, without commas", "分组需要名称，且不能包含逗号"),
    "group_ratio_invalid": ("a ratio is a number of at least 0", "倍率必须是不小于 0 的数字"),
    "group_has_users": (
        "Group {group} still has {count} users: move them to another group first",
        "分组 {group} 中还有 {count} 个用户：请先将他们移到其他分组",
    ),
    # ---- mail, codes and Turnstile ----
    "email_invalid": ("this is no e-mail address", "邮箱地址无效"),
    "email_domain_refused": (
        "Addresses of this domain may not be used here",
        "本站不接受该域名的邮箱地址",
    ),
    "email_taken": ("An account uses this e-mail address already", "该邮箱地址已被其他账户使用"),
    "mail_not_configured": ("No mail server is set up here", "本站尚未设置邮件服务器"),
    "mail_failed": ("The mail could not be sent; try again later", "邮件发送失败，请稍后重试"),
    "mail_sent_recently": (
        "A mail was sent to this address a moment ago; try again in {seconds} s",
        "刚刚已向该邮箱发送过邮件，请在 {seconds} 秒后重试",
    ),
    "reset_link_wrong": (
        "This link is wrong, has been used or has expired; ask for a new one",
        "重置链接不正确、已被使用或已过期，请重新获取",
    ),
    "turnstile_required": ("Please confirm first that you are human", "请先完成人机验证"),
    "turnstile_failed": (
        "That you are human could not be confirmed; reload the page and try again",
        "人机验证未通过，请刷新页面后重试",
    ),
    "turnstile_unreachable": (
        "Turnstile cannot be reached to confirm that you are human; try again later",
        "暂时无法连接人机验证服务，请稍后重试",
    ),
    # ---- signing in elsewhere ----
    "provider_unknown": ("There is no such way to sign in: {provider}", "未知的登录方式：{provider}"),
    "provider_disabled": (
        "The administrator has switched off signing in with {provider}",
        "本站未开放 {provider} 登录",
    ),
    "state_wrong": (
        "This sign-in was not begun here, or too long ago; please try again",
        "登录请求无效或已过期，请重新登录",
    ),
    "provider_unreachable": ("{provider} cannot be reached; try again later", "暂时无法连接 {provider}，请稍后重试"),
    "provider_refused": ("{provider} did not confirm this sign-in; please try again", "{provider} 登录未通过，请重试"),
    "identity_taken": (
        "This {provider} account is bound to another account here",
        "该 {provider} 账户已绑定到其他账户",
    ),
    "identity_is_last": (
        "This is the only way into the account: set a password first",
        "这是该账户唯一的登录方式：请先设置密码",
    ),
    # ---- tokens ----
    "token_name_too_long": ("a token's name has at most {limit} characters", "令牌名称最多 {limit} 个字符"),
    "subnet_invalid": (
        "{subnet} is neither a network (10.0.0.0/8) nor an address",
        "无效的网段：{subnet}",
    ),
    "subnet_too_long": ("the list of networks has at most {limit} characters", "网段列表最多 {limit} 个字符"),
    "token_expired": (
        "The token has expired: change its expiry first, then enable it",
        "令牌已过期：请先更改到期时间，再启用",
    ),
    "token_exhausted": (
        "The token's quota is used up: change its quota first, then enable it",
        "令牌额度已用完：请先更改额度，再启用",
    ),
    "limits_invalid": ("the limits cannot be used: {detail}", "无效的限制：{detail}"),
    "token_status_unknown": (
        "A token's status can be set to 1 (enabled) or 2 (disabled)",
        "令牌状态只能设置为 1（启用）或 2（停用）",
    ),
    # ---- channels ----
    "run_is_active": (
        "This is running already: {done} of {total} channels are done",
        "任务正在运行：已完成 {done} / {total} 个渠道",
    ),
    "scope_unknown": ("the scope is all or disabled", "范围只能是 all 或 disabled"),
    "balance_not_offered": ("{type} offers no query of the balance", "{type} 不支持查询余额"),
    "balance_unknown": ("The balance could not be had: {reason}", "无法获取余额：{reason}"),
    "channel_not_found": ("There is no such channel", "渠道不存在"),
    "channel_key_required": ("a channel needs a key", "密钥不能为空"),
    "pool_has_no_key": (
        "at least one key must stay enabled; to stop all of them, disable the channel",
        "至少要保留一个启用的密钥；要全部停用，请停用渠道",
    ),
    "channel_key_missing": (
        "The channel's key cannot be read: it is encrypted with key {name}, which KEY_ENCRYPTION_KEY does not have",
        "无法读取渠道密钥：它由密钥 {name} 加密，而 KEY_ENCRYPTION_KEY 中没有该密钥",
    ),
    "channel_key_damaged": (
        "The channel's key cannot be read: its encrypted text is damaged, or was written for another channel",
        "无法读取渠道密钥：其密文已损坏，或属于其他渠道",
    ),
    "value_is_sealed": (
        "{field} must not be an encrypted text of the database (enc:…)",
        "{field} 不能是数据库中的密文（enc:…）",
    ),
    "channel_type_unknown": ("there is no channel type {type}", "未知的渠道类型：{type}"),
    "channel_models_required": ("a channel needs at least one model", "渠道至少需要一个模型"),
    "channel_status_unknown": (
        "a channel's status can be set to 1 (enabled) or 2 (disabled)",
        "渠道状态只能设置为 1（启用）或 2（停用）",
    ),
    "channel_weight_negative": ("a channel's weight must not be negative", "渠道权重不能为负数"),
    "model_mapping_invalid": (
        'the model mapping must be a JSON object of texts, such as {{"gpt-4": "gpt-4o"}}',
        '模型映射必须是值为字符串的 JSON 对象，例如 {{"gpt-4": "gpt-4o"}}',
    ),
    "ids_or_tag_required": ("either ids or a tag must be given", "请提供 ids 或 tag 其中之一"),
    "settings_invalid": ("the channel's settings cannot be used: {detail}", "无效的渠道设置：{detail}"),
    "config_invalid": ("{field} must be a JSON object", "{field} 必须是 JSON 对象"),
    "value_too_long": (
        "{field} has at most {limit} characters in this database",
        "{field} 在此数据库中最多 {limit} 个字符",
    ),
    # ---- redemption codes ----
    "redemption_name_length": ("a code's name has 1 to {limit} characters", "兑换码名称为 1 到 {limit} 个字符"),
    "redemption_count": ("the number of codes must be 1 to {limit}", "兑换码数量为 1 到 {limit}"),
    "redemption_quota": ("a code's quota must be above 0", "兑换码额度必须大于 0"),
    "redemption_status_unknown": (
        "a code's status can be set to 1 (unused) or 2 (disabled)",
        "兑换码状态只能设置为 1（未使用）或 2（停用）",
    ),
    "redemption_is_used": ("A used code cannot be changed", "已使用的兑换码无法修改"),
    "code_required": ("No redemption code was given", "请输入兑换码"),
    "code_unknown": ("This redemption code is not valid", "兑换码不正确"),
    "code_used": ("This redemption code has been used", "这个兑换码已经用过"),
    "code_expired": ("This redemption code has expired", "这个兑换码已经过期"),
    # ---- logs ----
    "target_timestamp_required": ("a target_timestamp is required", "需要提供 target_timestamp"),
    "statistics_unknown": (
        "statistics are by model, token, channel or user (one's own: by model or token), in steps of an hour or a day",
        "统计可按 model、token、channel 或 user（个人：model 或 token）分组，步长为 hour 或 day",
    ),
    "period_unknown": (
        "the period must begin before it ends and have fewer than {limit} steps",
        "时间段的开始必须早于结束，且少于 {limit} 个步长",
    ),
    "log_types_unknown": ("log types are numbers from 1 to 6", "日志类型必须是 1 到 6 的数字"),
    # ---- options ----
    "option_key_required": ("an option needs a key", "选项名称不能为空"),
    "option_invalid": ("{reason}", "{reason}"),
}
