"""A tenant's disputes of readings: open one, see them, take one back."""

from __future__ import annotations

import re
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import scope
from accounts.models import AccessToken, Tenancy, User
from billing.models import Dispute
from billing.rating import disputing
from billing.rating.disputing import REASON_AT_MOST, Claim, DisputeRefused
from billing.tariff import units
from portal.api import Amount

IDEMPOTENCY_KEY = re.compile(r"^[\x21-\x7e]{8,64}$")
HEADERS = [OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, required=True)]
CLASHES = {"dispute_open", "decided", "idempotency_key_reused"}  # with what stands already; anything else is the form's


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class DisputeRequest(serializers.Serializer[Any]):
    read_at = serializers.DateTimeField(help_text="the instant of the reading, as the usage of its day names it")
    meter = serializers.CharField(
        max_length=32, required=False, default="", help_text="serial number, where a home has several meters"
    )
    reason = serializers.CharField(max_length=REASON_AT_MOST, help_text="what is wrong with it")


class DisputeAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    state = serializers.CharField(help_text="open, upheld (the tenant is right), dismissed or withdrawn")
    meter = serializers.CharField(source="draw.meter.serial")
    read_at = serializers.DateTimeField()
    import_kwh = serializers.SerializerMethodField(help_text="the register that is disputed, with three decimals")
    frozen = serializers.SerializerMethodField(help_text="what it is about: nobody is cut for it while it is open")
    reason = serializers.CharField()
    opened_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField(help_text="why the property decided so")

    def get_import_kwh(self, dispute: Dispute) -> str:
        kwh, rest_wh = divmod(dispute.import_wh, 1000)
        return f"{kwh}.{rest_wh:03d}"

    @extend_schema(responses=Amount)
    def get_frozen(self, dispute: Dispute) -> dict[str, Any]:
        return dict(Amount(units.to_fen(dispute.frozen_nano)).data)


class DisputesAnswer(serializers.Serializer[Any]):
    disputes = DisputeAnswer(many=True)


class Disputes(APIView):
    @extend_schema(operation_id="disputes_list", summary="List the disputes of a home", responses=DisputesAnswer)
    def get(self, request: Request, home: int) -> Response:
        """What was disputed in this home since they moved in, newest first."""
        tenancy = _own_home(request, home)
        found = tenancy.disputes.select_related("draw__meter").order_by("-pk")
        return Response(DisputesAnswer({"disputes": found}).data)

    @extend_schema(
        summary="Dispute a reading", request=DisputeRequest, responses={201: DisputeAnswer}, parameters=HEADERS
    )
    def post(self, request: Request, home: int) -> Response:
        """Disputes a reading of the home. What follows from it is not posted and cuts nobody until staff decide; later
        usage is charged as always. The same Idempotency-Key with the same reading gives the same dispute."""
        user, tenancy = _user(request), _own_home(request, home)
        key = request.headers.get("Idempotency-Key", "")
        if not IDEMPOTENCY_KEY.match(key):
            raise ValidationError(_("Send an Idempotency-Key header of 8 to 64 visible characters."), "idempotency_key")
        form = DisputeRequest(data=request.data)
        form.is_valid(raise_exception=True)
        claim = Claim(tenancy=tenancy, by=user, key=f"{user.pk}:{key}", **form.validated_data)
        try:
            dispute = disputing.open_dispute(claim, now=timezone.now())
        except DisputeRefused as error:
            raise _told(error) from error
        return Response(DisputeAnswer(dispute).data, status=status.HTTP_201_CREATED)


class WithdrawDispute(APIView):
    @extend_schema(summary="Take a dispute back", request=None, responses=DisputeAnswer)
    def post(self, request: Request, home: int, dispute: int) -> Response:
        """Takes a dispute back: the reading counts. Again it is an answer; 409 once staff have decided."""
        if not _own_home(request, home).disputes.filter(pk=dispute).exists():
            raise NotFound
        try:
            ended = disputing.withdraw(dispute_id=dispute, by=_user(request), now=timezone.now())
        except DisputeRefused as error:
            raise _told(error) from error
        return Response(DisputeAnswer(ended).data)


def _told(error: DisputeRefused) -> APIException:
    if error.code in CLASHES:
        return Conflict(error.message, error.code)
    return ValidationError(error.message, error.code)


def _own_home(request: Request, home: int) -> Tenancy:
    tenancy = scope.homes_of(_user(request), timezone.now()).filter(pk=home).first()
    if tenancy is None:
        raise NotFound
    return tenancy


def _user(request: Request) -> User:
    assert isinstance(request.auth, AccessToken)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.auth.user
