"""One file of settings, every one from the environment, validated at start.

In development nothing needs to be set. `METERPAY_ENV=production` demands the secrets, https, the operator's own
servers, and refuses the sandbox. The table for operators is docs/operator.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import alipay as _alipay  # noqa: F401  (its import reconfigures logging; imported first, ours is the last word: see LOGGING)
import dj_database_url
import django_stubs_ext

from config.environment import Environment, is_loopback, kept_secret
from payments.sandbox_marks import is_sandbox_id

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

PRODUCTION = env.choice("METERPAY_ENV", "development", among=("development", "production")) == "production"
VAR_DIR = Path(env.text("METERPAY_VAR", str(BASE_DIR / "var")))
DEBUG = False

SECRET_KEY = env.text("SECRET_KEY")
if PRODUCTION and len(SECRET_KEY) < 50:
    env.refuse("SECRET_KEY", "must be set to at least 50 random characters in production")
SECRET_KEY = SECRET_KEY or kept_secret(VAR_DIR / "secret_key")

# Where providers and phones reach us; callbacks go to PUBLIC_URL + /payments/notify/… and /notifications/…
PUBLIC_URL = env.url("PUBLIC_URL", "http://127.0.0.1:8000", schemes=("http", "https"))
if PRODUCTION and not PUBLIC_URL.startswith("https://"):
    env.refuse("PUBLIC_URL", "must begin with https:// in production: providers call back over TLS alone")
RECHARGE_PATH = "/r/{number}/"  # at PUBLIC_URL: where providers lead the payer back to (portal/pages)
ALLOWED_HOSTS = env.listed("ALLOWED_HOSTS", [] if PRODUCTION else ["127.0.0.1", "localhost", "testserver"])
if PRODUCTION and not ALLOWED_HOSTS:
    env.refuse("ALLOWED_HOSTS", "must name this server's host in production")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

# ---- servers ----
# manage.py and wsgi.py put the embedded server's address here when the operator names none (config/embedded).
DATABASE_URL = env.url("DATABASE_URL", "", schemes=("postgresql", "postgres"))
if PRODUCTION and not DATABASE_URL:
    env.refuse("DATABASE_URL", "must name your PostgreSQL in production: the embedded one is for trying out")
# LISTEN needs a direct connection, never a transaction-mode pooler: its own address where they differ.
DATABASE_LISTEN_URL = env.url("DATABASE_LISTEN_URL", DATABASE_URL, schemes=("postgresql", "postgres"))
# Connections a process keeps; 0 for none, which processes that fork need.
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 8, at_least=0, at_most=200)
DATABASES: dict[str, Any] = {
    "default": dict(dj_database_url.parse(DATABASE_URL or "postgresql://meterpay@127.0.0.1:1/no-database-named"))
}
# WEB_POOL=callbacks serves the callback addresses alone, from processes of their own, with no session machinery.
WEB_POOL = env.choice("WEB_POOL", "all", among=("all", "callbacks"))
_options = DATABASES["default"].setdefault("OPTIONS", {})
if WEB_POOL == "callbacks":
    # A thread keeps its connection. A callback is two statements, always the same, so they are prepared on it, which
    # saves a tenth of what they cost (docs/speed.md); a pooler between us and PostgreSQL may not know of that.
    DATABASES["default"]["CONN_MAX_AGE"] = None
    if DATABASE_LISTEN_URL == DATABASE_URL:
        _options |= {"server_side_binding": True, "prepare_threshold": 2}
elif DATABASE_POOL_SIZE:
    # After a restart of the database nobody meets a dead connection; a provider would simply call back again.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    _options["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10}
MQTT_URL = env.url("MQTT_URL", "", schemes=("mqtt", "mqtts"))
if PRODUCTION and not MQTT_URL:
    env.refuse("MQTT_URL", "must name your broker in production: the embedded one is for trying out")
MQTT_CA_FILE = env.text("MQTT_CA_FILE")
# Raw readings stay so many whole months, then their rollups alone: two years of bills can be computed anew.
READINGS_KEPT_MONTHS = env.integer("READINGS_KEPT_MONTHS", 25, at_least=2, at_most=240)

# ---- the vendors' addresses and our apps there; keys by reference ----
WECHAT_API_URL = env.url("WECHAT_API_URL", "https://api.weixin.qq.com", schemes=("http", "https"))
WECHAT_OAUTH_URL = env.url("WECHAT_OAUTH_URL", "https://open.weixin.qq.com", schemes=("http", "https"))
WECHAT_PAY_URL = env.url("WECHAT_PAY_URL", "https://api.mch.weixin.qq.com", schemes=("http", "https"))
ALIPAY_GATEWAY_URL = env.url("ALIPAY_GATEWAY_URL", "https://openapi.alipay.com/gateway.do", schemes=("http", "https"))
for _name in ("WECHAT_API_URL", "WECHAT_OAUTH_URL", "WECHAT_PAY_URL", "ALIPAY_GATEWAY_URL"):
    if PRODUCTION and (is_loopback(globals()[_name]) or "dev" in globals()[_name] or "sandbox" in globals()[_name]):
        env.refuse(_name, "names a sandbox, which production refuses")
VENDOR_TIMEOUT_S = env.integer("VENDOR_TIMEOUT_S", 5, at_least=1, at_most=30)
WECHAT_MINI_APP_ID = env.text("WECHAT_MINI_APP_ID")
WECHAT_MINI_SECRET_REF = env.key_reference("WECHAT_MINI_SECRET_REF")
ALIPAY_APP_ID = env.text("ALIPAY_APP_ID")
ALIPAY_PRIVATE_KEY_REF = env.key_reference("ALIPAY_PRIVATE_KEY_REF")
ALIPAY_PUBLIC_KEY_REF = env.key_reference("ALIPAY_PUBLIC_KEY_REF")
# The official account of the same people (by union id), and what its and the mini-program's events are signed with.
WECHAT_OFFICIAL_APP_ID = env.text("WECHAT_OFFICIAL_APP_ID")
WECHAT_OFFICIAL_SECRET_REF = env.key_reference("WECHAT_OFFICIAL_SECRET_REF")
WECHAT_OFFICIAL_TOKEN_REF = env.key_reference("WECHAT_OFFICIAL_TOKEN_REF")
WECHAT_OFFICIAL_AES_KEY_REF = env.key_reference("WECHAT_OFFICIAL_AES_KEY_REF")
WECHAT_MINI_TOKEN_REF = env.key_reference("WECHAT_MINI_TOKEN_REF")
WECHAT_MINI_AES_KEY_REF = env.key_reference("WECHAT_MINI_AES_KEY_REF")

# ---- SMS ----
ALIYUN_SMS_URL = env.url("ALIYUN_SMS_URL", "https://dysmsapi.aliyuncs.com", schemes=("http", "https"))
ALIYUN_SMS_KEY_ID = env.text("ALIYUN_SMS_KEY_ID")
ALIYUN_SMS_SECRET_REF = env.key_reference("ALIYUN_SMS_SECRET_REF")
ALIYUN_SMS_SIGN_NAME = env.text("ALIYUN_SMS_SIGN_NAME")
TENCENT_SMS_URL = env.url("TENCENT_SMS_URL", "https://sms.tencentcloudapi.com", schemes=("http", "https"))
TENCENT_SMS_REGION = env.text("TENCENT_SMS_REGION", "ap-guangzhou")
TENCENT_SMS_SECRET_ID = env.text("TENCENT_SMS_SECRET_ID")
TENCENT_SMS_SECRET_KEY_REF = env.key_reference("TENCENT_SMS_SECRET_KEY_REF")
TENCENT_SMS_APP_ID = env.text("TENCENT_SMS_APP_ID")
TENCENT_SMS_SIGN_NAME = env.text("TENCENT_SMS_SIGN_NAME")
SMS_PART_MILLI_FEN = env.integer("SMS_PART_MILLI_FEN", 4500, at_least=0, at_most=100_000)  # 0.045 yuan
# Part of the address that SMS vendors report to: they sign nothing, so it is a secret.
RECEIPTS_SECRET_REF = env.key_reference("RECEIPTS_SECRET_REF")
for _name in ("ALIYUN_SMS_URL", "TENCENT_SMS_URL"):
    if PRODUCTION and is_loopback(globals()[_name]):
        env.refuse(_name, "names a sandbox, which production refuses")
for _name in ("WECHAT_MINI_APP_ID", "WECHAT_OFFICIAL_APP_ID", "ALIPAY_APP_ID"):
    if PRODUCTION and is_sandbox_id(globals()[_name]):
        env.refuse(_name, "is a sandbox's, which production refuses")

# ---- limits ----
TOKEN_LIFETIME_DAYS = env.integer("TOKEN_LIFETIME_DAYS", 30, at_least=1, at_most=365)
CALLBACK_BODY_LIMIT = 64 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
API_REQUESTS_A_MINUTE = env.integer("API_REQUESTS_A_MINUTE", 240, at_least=0, at_most=100_000)  # 0 for no limit
# How many proxies of our own a request comes through: the address of who asks is what the first of them saw.
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 1 if PRODUCTION else 0, at_least=0, at_most=5)
ATTEMPT_LIFETIME_S = env.integer("ATTEMPT_LIFETIME_S", 1800, at_least=60, at_most=7200)

ROOT_URLCONF = "config.urls" if WEB_POOL == "all" else "config.callback_urls"
WSGI_APPLICATION = "config.wsgi.application"

INSTALLED_APPS = [
    "accounts",
    "notifications",
    "meters",
    "billing",
    "payments",
    "portal",
    "config",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
]
MIDDLEWARE = ["config.logs.TraceMiddleware"]
if WEB_POOL == "all":
    MIDDLEWARE += [
        "django.middleware.security.SecurityMiddleware",
        "csp.middleware.CSPMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True
USE_I18N = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic before a first look; a front server may take over /static/
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing folder

# Tenants' pages load nothing from elsewhere and run nothing that stands in them. The admin's have scripts and styles in
# them, and so has the page of the API.
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/admin/", "/api/docs/"],
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}
# WeChat's page for payments looks at where a payer comes from, and shows nothing to who hides it.
SECURE_REFERRER_POLICY = "strict-origin-when-cross-origin"

CACHES = {
    # Shared by all processes without another server: the vendors' tokens and rate limits live here.
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "shared_cache"},
    # A process's own, for what need not be exact: who asks how often.
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.login.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated", "portal.consent.HasConsented"],
    "DEFAULT_THROTTLE_CLASSES": ["portal.limits.PerLogin"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.bodies.ShortJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.errors.answer",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "meterpay",
    "DESCRIPTION": "Prepaid electricity for apartments: the tenant's API.",
    "VERSION": "1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "portal.errors.document"],
    "ENUM_NAME_OVERRIDES": {
        "OrderStateEnum": "payments.models.Order.State",
        "StageStateEnum": "portal.stages_api.STATES",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
}

Q_CLUSTER: dict[str, Any] = {
    "name": "meterpay",
    "orm": "default",
    "workers": 2,
    "timeout": 300,
    "retry": 600,  # longer than timeout, or a task runs twice at once
    "catch_up": False,
    "poll": 1,
    "max_attempts": 3,
    "ack_failures": True,
}

LOG_FORMAT = env.choice("LOG_FORMAT", "json" if PRODUCTION else "console", among=("json", "console"))
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", among=("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "trace": {"()": "config.logs.TraceFilter"},
        "refusal": {"()": "config.logs.RefusalFilter"},
        "privacy": {"()": "config.logs.PrivacyFilter"},  # the last: it writes stacks down
    },
    "formatters": {
        "json": {"()": "config.logs.JsonFormatter"},
        "console": {"format": "%(asctime)s %(levelname)s %(name)s [%(trace)s] %(message)s"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["trace", "refusal", "privacy"],
        },
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "python-alipay-sdk": {"handlers": [], "level": "WARNING"},  # at DEBUG it prints what it signs
        "django_q": {"handlers": [], "level": "WARNING"},
        "django-q": {"handlers": [], "level": "WARNING"},
        "paho": {"level": "WARNING"},
        "psycopg.pool": {"level": "ERROR"},  # it repeats each try; whoever asked gets the error
        "django.server": {"handlers": [], "level": "INFO"},
        "urllib3": {"level": "WARNING"},
    },
}
LOGGING_CONFIG = "logging.config.dictConfig"

if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.choice("SECURE_SSL_REDIRECT", "on", among=("on", "off")) == "on"
    # A provider's callback is never redirected.
    SECURE_REDIRECT_EXEMPT = [r"^payments/notify/", r"^notifications/"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
SESSION_COOKIE_AGE = 12 * 3600

env.finish()
