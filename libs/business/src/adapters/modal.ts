import type { Adapter } from '../adapter.ts';
import type { HttpClient } from '../http.ts';
import { comfyApi } from './comfy-api.ts';

/** How callers of a Modal deployment prove who they are. */
export type ModalAuth =
  /** A proxy token: Modal itself refuses others before any container wakes. */
  | { readonly type: 'modal-proxy'; readonly key: string; readonly secret: string }
  /** A token that our gateway checks, in a CPU container. */
  | { readonly type: 'bearer'; readonly token: string };

/** Options of {@link modal}. */
export interface ModalOptions {
  /** URL of the deployment's gateway, such as https://acme--ryla-photo-finish-api.modal.run. */
  readonly baseUrl: string;
  readonly auth: ModalAuth;
  readonly http?: HttpClient;
}

/** Our gateway on Modal: Comfy API v2, with look-up by the job id that the service mints. */
export function modal({ baseUrl, auth, http }: ModalOptions): Adapter {
  const headers: Record<string, string> =
    auth.type === 'bearer'
      ? { authorization: `Bearer ${auth.token}` }
      : { 'modal-key': auth.key, 'modal-secret': auth.secret };
  return comfyApi({ baseUrl, headers, lookup: true, ...(http === undefined ? {} : { http }) });
}
