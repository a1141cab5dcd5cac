"""Who lives in a home, who is let in, and who pays for it from elsewhere."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import members
from accounts.invitations import TenancyEndedError
from accounts.masks import masked
from accounts.members import HolderStaysError, NoSuchMemberError, NotTheHolderError, TooManyInvitationsError
from accounts.models import Member, User
from billing import money
from payments.checkout import CheckoutRefused
from portal import pay_links
from portal.refusals import words
from portal.usage_api import own_home


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class MemberAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField(source="called")
    phone = serializers.SerializerMethodField(help_text="masked: 138****5678; empty while unknown")
    role = serializers.ChoiceField(choices=Member.Role.choices)
    joined_at = serializers.DateTimeField()
    is_me = serializers.SerializerMethodField()

    def get_phone(self, member: Member) -> str:
        return masked(member.user.phone)

    def get_is_me(self, member: Member) -> bool:
        return bool(member.user_id == self.context["user"].pk)


class MembersAnswer(serializers.Serializer[Any]):
    members = MemberAnswer(many=True)


class InvitationAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class InvitationsAnswer(serializers.Serializer[Any]):
    invitations = InvitationAnswer(many=True)


class InvitedAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="invitation.pk")
    code = serializers.CharField(help_text="good once; it is not told again")
    expires_at = serializers.DateTimeField(source="invitation.expires_at")
    url = serializers.SerializerMethodField(help_text="where the code is entered, after logging in")

    def get_url(self, _invited: Any) -> str:
        return f"{settings.PUBLIC_URL}{reverse('homes-page')}?all"


class PayLinkRequest(serializers.Serializer[Any]):
    amount = serializers.CharField(
        max_length=12, required=False, help_text="yuan as text: 50.00; without it the payer chooses"
    )
    note = serializers.CharField(
        max_length=pay_links.LONGEST_NOTE, required=False, default="", allow_blank=True, help_text="the payer reads it"
    )

    def validate_amount(self, value: str) -> int:
        try:
            amount_fen = money.from_yuan(value)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error
        if amount_fen < 1:
            raise serializers.ValidationError(_("Enter an amount above zero."))
        return amount_fen


class PayLinkAnswer(serializers.Serializer[Any]):
    url = serializers.CharField()
    expires_at = serializers.DateTimeField()


class Members(APIView):
    @extend_schema(operation_id="members_list", summary="See who lives here", responses=MembersAnswer)
    def get(self, request: Request, home: int) -> Response:
        """The holder first. Phone numbers are masked."""
        found = members.of(own_home(request, home))
        return Response(MembersAnswer({"members": found}, context={"user": _user(request)}).data)


class OneMember(APIView):
    @extend_schema(operation_id="member_send_out", summary="Send somebody out, or leave", responses={204: None})
    def delete(self, request: Request, home: int, member: int) -> Response:
        """The holder sends a sharer out; everybody may leave but the holder, who hands the home over first."""
        tenancy, user, trace = own_home(request, home), _user(request), request.META["TRACE_ID"]
        try:
            members.send_out(tenancy_id=tenancy.pk, member_id=member, by=user, trace=trace, now=timezone.now())
        except (NoSuchMemberError, NotTheHolderError, HolderStaysError) as error:
            raise _told(error) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class HandOver(APIView):
    @extend_schema(operation_id="member_make_holder", summary="Hand the home over", request=None, responses={204: None})
    def post(self, request: Request, home: int, member: int) -> Response:
        """Makes a sharer the holder; the caller shares the home from now on."""
        tenancy, user, trace = own_home(request, home), _user(request), request.META["TRACE_ID"]
        try:
            members.hand_over(tenancy_id=tenancy.pk, member_id=member, by=user, trace=trace)
        except (NoSuchMemberError, NotTheHolderError) as error:
            raise _told(error) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class Invitations(APIView):
    @extend_schema(operation_id="invitations_list", summary="See who was invited", responses=InvitationsAnswer)
    def get(self, request: Request, home: int) -> Response:
        """Those that can still be used, without their codes."""
        found = members.open_invitations(own_home(request, home), now=timezone.now())
        return Response(InvitationsAnswer({"invitations": found}).data)

    @extend_schema(summary="Let somebody in", request=None, responses={201: InvitedAnswer})
    def post(self, request: Request, home: int) -> Response:
        """A code for one more person, told once and good for a week; at most five are open. It costs nothing, so it
        needs no Idempotency-Key: one too many is taken back."""
        tenancy = own_home(request, home)
        try:
            invited = members.invite(tenancy_id=tenancy.pk, by=_user(request), now=timezone.now())
        except (NotTheHolderError, TooManyInvitationsError, TenancyEndedError) as error:
            raise _told(error) from error
        answer = InvitedAnswer(invited).data
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class OneInvitation(APIView):
    @extend_schema(operation_id="invitation_take_back", summary="Take an invitation back", responses={204: None})
    def delete(self, request: Request, home: int, invitation: int) -> Response:
        """404 when somebody has used it, or it has ended."""
        tenancy = own_home(request, home)
        try:
            is_done = members.take_back(
                tenancy_id=tenancy.pk, invitation_id=invitation, by=_user(request), now=timezone.now()
            )
        except NotTheHolderError as error:
            raise _told(error) from error
        if not is_done:
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)


class PayLinks(APIView):
    @extend_schema(summary="Ask somebody to pay", request=PayLinkRequest, responses={201: PayLinkAnswer})
    def post(self, request: Request, home: int) -> Response:
        """A link by which anybody may recharge this home, good for a week. Who opens it sees the door and the amount,
        neither balance nor names."""
        tenancy = own_home(request, home)
        form = PayLinkRequest(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        amount_fen, note = asked.get("amount"), asked["note"]
        try:
            made = pay_links.make(tenancy=tenancy, amount_fen=amount_fen, note=note, now=timezone.now())
        except CheckoutRefused as error:
            raise ValidationError(error.message, error.code) from error
        return Response(PayLinkAnswer(made).data, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101 (tells the type; the authenticator makes nothing else)
    return request.user


def _told(error: Exception) -> APIException:
    if isinstance(error, NoSuchMemberError):
        return NotFound()
    if isinstance(error, NotTheHolderError):
        return PermissionDenied(words(error), "not_the_holder")
    codes = {HolderStaysError: "holder_stays", TooManyInvitationsError: "too_many_invitations"}
    return Conflict(words(error), codes.get(type(error), "tenancy_ended"))
