"""Requests to SMS vendors are signed as in the examples that the vendors publish."""

from __future__ import annotations

from datetime import UTC, datetime

from notifications.channels import sms_aliyun, sms_tencent


def test_aliyun_publishes_this_request():
    """help.aliyun.com, "request structure and signature of V3": RunInstances."""
    query = sms_aliyun.canonical_query(
        {"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"}
    )
    headers = {
        "host": "ecs.cn-shanghai.aliyuncs.com",
        "x-acs-action": "RunInstances",
        "x-acs-content-sha256": sms_aliyun.NO_BODY,
        "x-acs-date": "2023-10-26T10:22:32Z",
        "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
        "x-acs-version": "2014-05-26",
    }

    written = sms_aliyun.authorization("YourAccessKeyId", b"YourAccessKeySecret", query=query, headers=headers)

    assert written == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,"
        "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_aliyun_escapes_as_rfc_3986_says():
    assert sms_aliyun.canonical_query({"b": "a b*~/+", "a": "王"}) == "a=%E7%8E%8B&b=a%20b%2A~%2F%2B"


def test_tencent_publishes_this_request():
    """cloud.tencent.com/document/api/213/30654: DescribeInstances."""
    body = b'{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}'

    written = sms_tencent.authorization(
        "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE",
        "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
        host="cvm.tencentcloudapi.com",
        body=body,
        now=datetime.fromtimestamp(1551113065, UTC),
        service="cvm",
    )

    assert written == (
        "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )
