/* What Go programs need of bcryptprimitives.dll and Wine 8 lacks. Wine 9 and
   later have the real one. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	return RtlGenRandom(data, (ULONG)size);
}
