"""The pages of the console and the admin, over the small fleet of `demo_data`."""

from __future__ import annotations

PAGES: dict[str, str] = {
    "overview": "/",
    "service": "/services/user-service",
    "service-drifted": "/services/search-api",
    "operation-running": "/deploys/deploy-2026-11-23-0142",
    "operation-failed": "/deploys/deploy-2026-11-23-checkout",
    "operation-rollback": "/rollbacks/rollback-5f2c9a7714d0be31",
    "operation-superseded": "/deploys/deploy-2026-11-22-checkout",
    "roll-back": "/services/user-service/roll-back?deploy=deploy-2026-11-23-0142",
    "roll-back-none": "/services/recommendations/roll-back",
    "deploy": "/deploy?service=user-service",
    "deploy-preview": "/deploy?service=billing",
    "hold": "/services/billing/hold",
    "history": "/history",
    "instance": "/instances/checkout-2",
    "node": "/nodes/checkout-node-1",
    "search": "/search?q=checkout",
    "adopt": "/services/billing/adopt",
    "adopted-instance": "/instances/billing-1",
    "operation-log": "/deploys/deploy-2026-11-23-checkout?line=70#L70",
    "password": "/password",
    "not-found": "/nowhere",
    "admin": "/admin/",
    "admin-instances": "/admin/inventory/instance/",
    "admin-services": "/admin/inventory/service/",
}
